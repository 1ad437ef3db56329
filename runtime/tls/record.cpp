#include "runtime/tls/record.h"

#include <algorithm>
#include <cstring>

namespace vesper::tls {
namespace {

constexpr char kIntroductionName[] = "vesper token 1\n";
constexpr size_t kNameBytes = sizeof(kIntroductionName) - 1;
constexpr size_t kSessionBytes = kIntroductionBytes - kNameBytes - kTokenText;
static_assert(kSessionBytes == 6, "what the token leaves, little-endian");

}  // namespace

bool Introduce(const std::string& token, uint64_t session, Introduction* introduction) {
  introduction->fill(0);
  if (token.size() > kTokenText || session >> (8 * kSessionBytes) != 0) return false;
  for (size_t i = 0; i < kSessionBytes; ++i) {
    (*introduction)[kNameBytes + kTokenText + i] = static_cast<uint8_t>(session >> (8 * i));
  }
  std::memcpy(introduction->data(), kIntroductionName, kNameBytes);
  std::memcpy(introduction->data() + kNameBytes, token.data(), token.size());
  return true;
}

bool ReadIntroduction(const Introduction& introduction, std::string* token, uint64_t* session) {
  if (std::memcmp(introduction.data(), kIntroductionName, kNameBytes) != 0) return false;
  const auto begin = introduction.begin() + kNameBytes;
  const auto end = begin + kTokenText;
  token->assign(begin, std::find(begin, end, 0));
  *session = 0;
  for (size_t i = 0; i < kSessionBytes; ++i) *session |= uint64_t{end[static_cast<ptrdiff_t>(i)]} << (8 * i);
  return true;
}

struct RecordCipher::Suite {
  uint16_t number;
  const char* cipher;
  const char* hash;
  size_t key_bytes;
  size_t hash_bytes;
};

const RecordCipher::Suite* RecordCipher::SuiteOf(uint16_t number) {
  static constexpr std::array<Suite, 3> kSuites = {{{0x1301, "AES-128-GCM", "SHA256", 16, 32},
                                                    {0x1302, "AES-256-GCM", "SHA384", 32, 48},
                                                    {0x1303, "ChaCha20-Poly1305", "SHA256", 32, 32}}};
  const auto found = std::find_if(kSuites.begin(), kSuites.end(), [&](const Suite& s) { return s.number == number; });
  return found == kSuites.end() ? nullptr : &*found;
}

std::unique_ptr<RecordCipher> RecordCipher::Make(const OpenSsl& ssl, uint16_t suite,
                                                 const Secrets::Direction& direction, Use use, std::string* error) {
  const ErrorScope scope(ssl);
  const Suite* known = SuiteOf(suite);
  *error = "the connection has a cipher that is not known here";
  if (known == nullptr) return nullptr;
  std::unique_ptr<RecordCipher> made(new RecordCipher(ssl, *known, use));
  made->secret_ = direction.secret;
  made->cipher_ = ssl.EVP_CIPHER_fetch(ssl.context, known->cipher, "");
  made->state_ = ssl.EVP_CIPHER_CTX_new();
  const bool works = made->cipher_ != nullptr && made->state_ != nullptr && made->SetKey();
  made->sequence_ = direction.sequence;
  if (!works) *error = LastError(ssl, "the connection's cipher cannot be used");
  return works ? std::move(made) : nullptr;
}

RecordCipher::~RecordCipher() {
  ssl_.OPENSSL_cleanse(secret_.data(), secret_.size());
  ssl_.EVP_CIPHER_CTX_free(state_);
  ssl_.EVP_CIPHER_free(cipher_);
}

// HKDF-Expand-Label without context, which for all that is wanted here is one HMAC.
bool RecordCipher::Expand(const char* label, std::span<uint8_t> out) const {
  constexpr char kPrefix[] = "tls13 ";
  std::array<uint8_t, 64> info{};
  const std::string text = std::string(kPrefix) + label;
  size_t size = 0;
  info[size++] = 0;
  info[size++] = static_cast<uint8_t>(out.size());
  info[size++] = static_cast<uint8_t>(text.size());
  std::memcpy(&info[size], text.data(), text.size());
  size += text.size();
  info[size++] = 0;  // no context
  info[size++] = 1;  // the first block of HKDF-Expand
  std::array<uint8_t, 64> block;
  size_t made = 0;
  if (ssl_.EVP_Q_mac(ssl_.context, "HMAC", nullptr, suite_.hash, nullptr, secret_.data(), suite_.hash_bytes,
                     info.data(), size, block.data(), block.size(), &made) == nullptr ||
      made < out.size()) {
    return false;
  }
  std::memcpy(out.data(), block.data(), out.size());
  ssl_.OPENSSL_cleanse(block.data(), block.size());
  return true;
}

bool RecordCipher::SetKey() {
  std::array<uint8_t, 32> key;
  const bool set = Expand("key", std::span(key).first(suite_.key_bytes)) && Expand("iv", iv_) &&
                   ssl_.EVP_CipherInit_ex2(state_, cipher_, key.data(), iv_.data(), use_ == Use::kSeal, nullptr) == 1;
  ssl_.OPENSSL_cleanse(key.data(), key.size());
  sequence_ = 0;
  return set;
}

bool RecordCipher::Update() {
  const ErrorScope scope(ssl_);
  std::array<uint8_t, kMaxSecretBytes> next;
  if (!Expand("traffic upd", std::span(next).first(suite_.hash_bytes))) return false;
  secret_ = next;
  ssl_.OPENSSL_cleanse(next.data(), next.size());
  return SetKey();
}

bool RecordCipher::Begin(const uint8_t* header) {
  std::array<uint8_t, 12> nonce = iv_;
  for (size_t i = 0; i < sizeof(sequence_); ++i)
    nonce[nonce.size() - 1 - i] ^= static_cast<uint8_t>(sequence_ >> 8 * i);
  int ignored = 0;
  return ssl_.EVP_CipherInit_ex2(state_, nullptr, nullptr, nonce.data(), -1, nullptr) == 1 &&
         ssl_.EVP_CipherUpdate(state_, nullptr, &ignored, header, kRecordHeader) == 1;
}

size_t RecordCipher::Seal(RecordType type, std::span<const iovec> pieces, uint8_t* out) {
  const ErrorScope scope(ssl_);
  size_t bytes = 1;
  for (const iovec& piece : pieces) bytes += piece.iov_len;
  const size_t body = bytes + kRecordTag;
  const std::array<uint8_t, kRecordHeader> header = {static_cast<uint8_t>(RecordType::kData), 3, 3,
                                                     static_cast<uint8_t>(body >> 8), static_cast<uint8_t>(body)};
  std::memcpy(out, header.data(), header.size());
  if (!Begin(out)) return 0;
  uint8_t* next = out + kRecordHeader;
  int done = 0;
  const auto add = [&](const void* data, size_t size) {
    const bool added =
        ssl_.EVP_CipherUpdate(state_, next, &done, static_cast<const uint8_t*>(data), static_cast<int>(size)) == 1;
    next += done;
    return added;
  };
  for (const iovec& piece : pieces) {
    if (!add(piece.iov_base, piece.iov_len)) return 0;
  }
  if (!add(&type, 1) || ssl_.EVP_CipherFinal_ex(state_, next, &done) != 1) return 0;
  next += done;
  if (ssl_.EVP_CIPHER_CTX_ctrl(state_, EVP_CTRL_AEAD_GET_TAG, kRecordTag, next) != 1) return 0;
  ++sequence_;
  return kRecordHeader + body;
}

bool RecordCipher::Open(std::span<const uint8_t> record, uint8_t* out, size_t* content, RecordType* type) {
  const ErrorScope scope(ssl_);
  if (record.size() < kRecordOverhead || !Begin(record.data())) return false;
  const size_t inside = record.size() - kRecordHeader - kRecordTag;
  std::array<uint8_t, kRecordTag> tag;
  std::memcpy(tag.data(), record.data() + kRecordHeader + inside, tag.size());
  int done = 0, rest = 0;
  if (ssl_.EVP_CipherUpdate(state_, out, &done, record.data() + kRecordHeader, static_cast<int>(inside)) != 1 ||
      ssl_.EVP_CIPHER_CTX_ctrl(state_, EVP_CTRL_AEAD_SET_TAG, kRecordTag, tag.data()) != 1 ||
      ssl_.EVP_CipherFinal_ex(state_, out + done, &rest) != 1) {
    return false;
  }
  ++sequence_;
  size_t end = inside;
  while (end > 0 && out[end - 1] == 0) --end;  // padding
  if (end == 0) return false;
  *content = end - 1;
  *type = static_cast<RecordType>(out[end - 1]);
  return *content <= kRecordPlain;
}

}  // namespace vesper::tls
