#include "runtime/tls/handshake.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "runtime/tls/record.h"
#include "runtime/tls/stream.h"

namespace vesper::tls {
namespace {

constexpr char kSuites[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr size_t kFingerprintDigits = 64;
constexpr char kFingerprintPrefix[] = "SHA256:";

template <auto Member>
struct Free {
  const OpenSsl* ssl = nullptr;
  template <typename Type>
  void operator()(Type* object) const {
    (ssl->*Member)(object);
  }
};
using Certificate = std::unique_ptr<X509, Free<&OpenSsl::X509_free>>;
using PrivateKey = std::unique_ptr<EVP_PKEY, Free<&OpenSsl::EVP_PKEY_free>>;
using Handshake = std::unique_ptr<SSL, Free<&OpenSsl::SSL_free>>;
using Context = std::unique_ptr<SSL_CTX, Free<&OpenSsl::SSL_CTX_free>>;
using Text = std::unique_ptr<BIO, Free<&OpenSsl::BIO_free>>;

// OpenSSL's own way to a socket would raise SIGPIPE, so BIOs have ours. They take no more from it than the handshake needs.
// Callbacks have no way to the table but this one; it is set by the first handshake and never changes.
const OpenSsl* g_ssl = nullptr;

int SocketOf(BIO* bio) { return static_cast<int>(reinterpret_cast<intptr_t>(g_ssl->BIO_get_data(bio))); }

int AfterTransfer(BIO* bio, ssize_t count, int retry) {
  g_ssl->BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
  if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
    g_ssl->BIO_set_flags(bio, retry | BIO_FLAGS_SHOULD_RETRY);
  }
  return static_cast<int>(count);
}

int WriteSocket(BIO* bio, const char* data, int size) {
  return AfterTransfer(bio, ::send(SocketOf(bio), data, static_cast<size_t>(size), MSG_NOSIGNAL | MSG_DONTWAIT),
                       BIO_FLAGS_WRITE);
}

int ReadSocket(BIO* bio, char* data, int size) {
  return AfterTransfer(bio, ::recv(SocketOf(bio), data, static_cast<size_t>(size), MSG_DONTWAIT), BIO_FLAGS_READ);
}

long ControlSocket(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD* MakeMethod(const OpenSsl& ssl) {
  BIO_METHOD* method = ssl.BIO_meth_new(BIO_TYPE_SOURCE_SINK | 127, "vesper socket");
  if (method == nullptr) return nullptr;
  g_ssl = &ssl;
  ssl.BIO_meth_set_write(method, WriteSocket);
  ssl.BIO_meth_set_read(method, ReadSocket);
  ssl.BIO_meth_set_ctrl(method, ControlSocket);
  return method;
}

bool UseSocket(const OpenSsl& ssl, SSL* handshake, int socket) {
  static BIO_METHOD* const method = MakeMethod(ssl);
  BIO* bio = method == nullptr ? nullptr : ssl.BIO_new(method);
  if (bio == nullptr) return false;
  ssl.BIO_set_data(bio, reinterpret_cast<void*>(static_cast<intptr_t>(socket)));
  ssl.BIO_set_init(bio, 1);
  ssl.SSL_set_bio(handshake, bio, bio);
  return true;
}

bool FromHex(std::string_view text, std::span<uint8_t> out) {
  if (text.size() % 2 != 0 || text.size() / 2 > out.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return false;
    out[i / 2] = static_cast<uint8_t>(out[i / 2] << 4 | digit);
  }
  return true;
}

// What OpenSSL tells for programs that look at traffic: LABEL CLIENT_RANDOM SECRET.
void TakeSecret(const SSL* handshake, const char* line) {
  auto* secrets = static_cast<Secrets*>(g_ssl->SSL_get_ex_data(handshake, 0));
  const std::string_view text(line);
  const size_t label = text.find(' ');
  const size_t last = text.rfind(' ');
  if (secrets == nullptr || label == text.npos) return;
  Secrets::Direction* direction = nullptr;
  if (text.substr(0, label) == "CLIENT_TRAFFIC_SECRET_0") direction = &secrets->client;
  if (text.substr(0, label) == "SERVER_TRAFFIC_SECRET_0") direction = &secrets->server;
  if (direction == nullptr) return;
  if (FromHex(text.substr(last + 1), direction->secret)) direction->sequence = 0;
}

Context MakeContext(const OpenSsl& ssl) {
  Context context(ssl.SSL_CTX_new_ex(ssl.context, nullptr, ssl.TLS_method()), {&ssl});
  if (context == nullptr) return context;
  ssl.SSL_CTX_ctrl(context.get(), SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_3_VERSION, nullptr);
  ssl.SSL_CTX_ctrl(context.get(), SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_OFF, nullptr);
  ssl.SSL_CTX_ctrl(context.get(), SSL_CTRL_MODE, SSL_MODE_RELEASE_BUFFERS, nullptr);
  ssl.SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  ssl.SSL_CTX_set_num_tickets(context.get(), 0);
  ssl.SSL_CTX_set_ciphersuites(context.get(), kSuites);
  ssl.SSL_CTX_set_keylog_callback(context.get(), TakeSecret);
  return context;
}

// The rest of the connection is a Stream's.
bool Finish(const OpenSsl& ssl, SSL* handshake, Secrets* secrets, std::string* error) {
  const SSL_CIPHER* cipher = ssl.SSL_get_current_cipher(handshake);
  secrets->suite = cipher == nullptr ? uint16_t{0} : ssl.SSL_CIPHER_get_protocol_id(cipher);
  if (secrets->suite != 0 && ssl.SSL_has_pending(handshake) == 0) return true;
  *error = "the TLS handshake ended in a way that is not known here";
  return false;
}

std::string FingerprintOf(const OpenSsl& ssl, X509* certificate) {
  unsigned char* bytes = nullptr;
  const int size = ssl.i2d_X509(certificate, &bytes);
  std::array<uint8_t, 32> digest{};
  size_t length = 0;
  const bool made = size > 0 && ssl.EVP_Q_digest(ssl.context, "SHA256", nullptr, bytes, static_cast<size_t>(size),
                                                 digest.data(), &length) == 1;
  ssl.CRYPTO_free(bytes, __FILE__, __LINE__);
  if (!made) return {};
  std::string text = kFingerprintPrefix;
  for (const uint8_t byte : digest) {
    constexpr char kDigits[] = "0123456789abcdef";
    text += {kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return text;
}

bool LoadOwnCertificate(const OpenSsl& ssl, SSL_CTX* context, const Identity& identity, std::string* error) {
  if (identity.certificate_file.empty()) return true;
  const std::string& key = identity.key_file.empty() ? identity.certificate_file : identity.key_file;
  if (ssl.SSL_CTX_use_certificate_chain_file(context, identity.certificate_file.c_str()) == 1 &&
      ssl.SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) == 1) {
    return true;
  }
  *error = "cannot use the certificate " + identity.certificate_file + " with the key " + key + ": " +
           LastError(ssl, "unreadable");
  return false;
}

bool TrustAuthorities(const OpenSsl& ssl, SSL_CTX* context, const Identity& identity, std::string* error) {
  ssl.SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  const bool loaded = identity.authority_file.empty()
                          ? ssl.SSL_CTX_set_default_verify_paths(context) == 1
                          : ssl.SSL_CTX_load_verify_file(context, identity.authority_file.c_str()) == 1;
  if (!loaded)
    *error = "cannot read the certificates of " + identity.authority_file + ": " + LastError(ssl, "unreadable");
  return loaded;
}

// What a server is recognised by where a fingerprint was named.
struct Pin {
  const OpenSsl& ssl;
  std::string wanted, found;
};

// OpenSSL asks before the client has said anything of itself.
int Recognise(X509_STORE_CTX* shown, void* pin_pointer) {
  Pin& pin = *static_cast<Pin*>(pin_pointer);
  pin.found = FingerprintOf(pin.ssl, pin.ssl.X509_STORE_CTX_get0_cert(shown));
  if (pin.found == pin.wanted) return 1;
  pin.ssl.X509_STORE_CTX_set_error(shown, X509_V_ERR_APPLICATION_VERIFICATION);
  return 0;
}

bool TrustPinned(const OpenSsl& ssl, SSL_CTX* context, const Identity& identity, Pin* pin, std::string* error) {
  pin->wanted = ReadFingerprint(identity.fingerprint);
  if (pin->wanted.empty()) *error = "\"" + identity.fingerprint + "\" is no fingerprint: 64 hexadecimal digits";
  ssl.SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  ssl.SSL_CTX_set_cert_verify_callback(context, Recognise, pin);
  return !pin->wanted.empty();
}

void ExpectHost(const OpenSsl& ssl, SSL* handshake, const std::string& host) {
  X509_VERIFY_PARAM* parameters = ssl.SSL_get0_param(handshake);
  if (ssl.X509_VERIFY_PARAM_set1_ip_asc(parameters, host.c_str()) == 1) return;
  ssl.X509_VERIFY_PARAM_set1_host(parameters, host.c_str(), host.size());
  ssl.SSL_ctrl(handshake, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, const_cast<char*>(host.c_str()));
}

bool WaitFor(int socket, int wanted, const transport::Deadline& deadline) {
  pollfd entry{socket, static_cast<short>(wanted == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN), 0};
  for (;;) {
    const int ready = ::poll(&entry, 1, deadline.PollMilliseconds());
    if (ready > 0) return true;
    if ((ready < 0 && errno != EINTR) || (ready == 0 && deadline.passed())) return false;
  }
}

std::string WhyRefused(const OpenSsl& ssl, SSL* handshake, int wanted) {
  const long verified = ssl.SSL_get_verify_result(handshake);
  if (verified != X509_V_OK) {
    return std::string("the server's certificate is not to be trusted: ") +
           ssl.X509_verify_cert_error_string(verified) +
           "; name its fingerprint in VESPER_FINGERPRINT, as vesper-server says it at start, or in VESPER_CA who "
           "signed it";
  }
  if (wanted == SSL_ERROR_SYSCALL) return "the server ended the connection during the TLS handshake";
  return "no TLS 1.3 with this server: " + LastError(ssl, "the handshake failed");
}

bool Shake(const OpenSsl& ssl, SSL* handshake, int socket, const transport::Deadline& deadline, std::string* error) {
  for (;;) {
    const int result = ssl.SSL_do_handshake(handshake);
    if (result == 1) return true;
    const int wanted = ssl.SSL_get_error(handshake, result);
    if (wanted != SSL_ERROR_WANT_READ && wanted != SSL_ERROR_WANT_WRITE) {
      *error = WhyRefused(ssl, handshake, wanted);
      return false;
    }
    if (!WaitFor(socket, wanted, deadline)) {
      *error = "the server does not answer with TLS in time";
      return false;
    }
  }
}

// One record, sent whole: a new connection has room for it.
bool SendIntroduction(const OpenSsl& ssl, int socket, const Identity& identity, Secrets* secrets, std::string* error) {
  Introduction introduction;
  if (!Introduce(identity.token, identity.session, &introduction)) {
    *error = "the token is longer than any";
    return false;
  }
  const auto cipher = RecordCipher::Make(ssl, secrets->suite, secrets->client, RecordCipher::Use::kSeal, error);
  if (cipher == nullptr) return false;
  std::array<uint8_t, kIntroductionBytes + kRecordOverhead> record;
  const iovec piece{introduction.data(), introduction.size()};
  const size_t size = cipher->Seal(RecordType::kData, {&piece, 1}, record.data());
  secrets->client.sequence = cipher->records();
  const ssize_t sent = ::send(socket, record.data(), size, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (size != 0 && sent == static_cast<ssize_t>(size)) return true;
  // It may have said why before it went, by an alert that is still here.
  uint8_t byte = 0;
  const iovec room{&byte, 1};
  const auto stream = Stream::Make(socket, *secrets, End::kClient, error);
  if (stream != nullptr) stream->Receive({&room, 1});
  *error = stream == nullptr || stream->error().empty() ? "the server ended the connection during the TLS handshake"
                                                        : stream->error();
  return false;
}

Certificate ReadCertificate(const OpenSsl& ssl, BIO* text) {
  return Certificate(ssl.PEM_read_bio_X509(text, nullptr, nullptr, nullptr), {&ssl});
}

Text TextOf(const OpenSsl& ssl, const std::string& text) {
  return Text(ssl.BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), {&ssl});
}

bool TrustClientsOf(const OpenSsl& ssl, SSL_CTX* context, const std::string& authority) {
  const Text text = TextOf(ssl, authority);
  size_t found = 0;
  while (text != nullptr) {
    const Certificate certificate = ReadCertificate(ssl, text.get());
    if (certificate == nullptr) break;
    if (ssl.X509_STORE_add_cert(ssl.SSL_CTX_get_cert_store(context), certificate.get()) != 1 ||
        ssl.SSL_CTX_add_client_CA(context, certificate.get()) != 1) {
      return false;
    }
    ++found;
  }
  // A client without certificate may still have a token.
  ssl.SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  return found != 0;
}

bool UseOwnCertificate(const OpenSsl& ssl, SSL_CTX* context, const std::string& key, const std::string& certificates) {
  const Text key_text = TextOf(ssl, key);
  const Text text = TextOf(ssl, certificates);
  if (key_text == nullptr || text == nullptr) return false;
  const PrivateKey private_key(ssl.PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr), {&ssl});
  const Certificate certificate = ReadCertificate(ssl, text.get());
  if (private_key == nullptr || certificate == nullptr) return false;
  if (ssl.SSL_CTX_use_certificate(context, certificate.get()) != 1 ||
      ssl.SSL_CTX_use_PrivateKey(context, private_key.get()) != 1 || ssl.SSL_CTX_check_private_key(context) != 1) {
    return false;
  }
  for (Certificate next = ReadCertificate(ssl, text.get()); next != nullptr; next = ReadCertificate(ssl, text.get())) {
    if (ssl.SSL_CTX_ctrl(context, SSL_CTRL_CHAIN_CERT, 1, next.get()) != 1) return false;
  }
  return true;
}

CertificateId IdOf(const OpenSsl& ssl, const X509_NAME* issuer, const ASN1_INTEGER* serial) {
  CertificateId id{};
  const int issuer_size = ssl.i2d_X509_NAME(issuer, nullptr), serial_size = ssl.i2d_ASN1_INTEGER(serial, nullptr);
  if (issuer_size <= 0 || serial_size <= 0) return id;
  std::vector<unsigned char> bytes(static_cast<size_t>(issuer_size) + static_cast<size_t>(serial_size));
  unsigned char* at = bytes.data();
  ssl.i2d_X509_NAME(issuer, &at);
  ssl.i2d_ASN1_INTEGER(serial, &at);
  size_t size = 0;
  ssl.EVP_Q_digest(ssl.context, "SHA256", nullptr, bytes.data(), bytes.size(), id.data(), &size);
  return size == id.size() ? id : CertificateId{};
}

std::string NameOf(const OpenSsl& ssl, SSL* handshake, CertificateId* id) {
  const Certificate certificate(ssl.SSL_get1_peer_certificate(handshake), {&ssl});
  if (certificate == nullptr || ssl.SSL_get_verify_result(handshake) != X509_V_OK) return {};
  *id = IdOf(ssl, ssl.X509_get_issuer_name(certificate.get()), ssl.X509_get0_serialNumber(certificate.get()));
  std::array<char, 64> name{};
  ssl.X509_NAME_get_text_by_NID(ssl.X509_get_subject_name(certificate.get()), NID_commonName, name.data(),
                                static_cast<int>(name.size()));
  return name[0] == '\0' ? "a certificate without name" : name.data();
}

}  // namespace

std::string ReadFingerprint(const std::string& text) {
  std::string result = kFingerprintPrefix;
  const size_t skipped = result.size();
  const auto is_prefix = [&] {
    for (size_t i = 0; i < skipped; ++i) {
      if (i >= text.size() || std::toupper(static_cast<unsigned char>(text[i])) != result[i]) return false;
    }
    return true;
  };
  for (size_t i = is_prefix() ? skipped : 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == ':') continue;
    if (std::isxdigit(c) == 0) return {};
    result += static_cast<char>(std::tolower(c));
  }
  return result.size() == skipped + kFingerprintDigits ? result : std::string();
}

bool ConnectSecurely(int socket, const std::string& host, const Identity& identity, const transport::Deadline& deadline,
                     Secrets* secrets, std::string* error) {
  const OpenSsl* ssl = Open(error);
  if (ssl == nullptr) return false;
  const ErrorScope scope(*ssl);
  *error = "OpenSSL cannot be used";
  const Context context = MakeContext(*ssl);
  if (context == nullptr || !LoadOwnCertificate(*ssl, context.get(), identity, error)) return false;
  Pin pin{*ssl, {}, {}};
  if (!(identity.fingerprint.empty() ? TrustAuthorities(*ssl, context.get(), identity, error)
                                     : TrustPinned(*ssl, context.get(), identity, &pin, error))) {
    return false;
  }
  const Handshake handshake(ssl->SSL_new(context.get()), {ssl});
  if (handshake == nullptr || !UseSocket(*ssl, handshake.get(), socket)) return false;
  *secrets = {};
  ssl->SSL_set_ex_data(handshake.get(), 0, secrets);
  ExpectHost(*ssl, handshake.get(), host);
  ssl->SSL_set_connect_state(handshake.get());
  const bool shaken = Shake(*ssl, handshake.get(), socket, deadline, error);
  if (pin.found != pin.wanted && !pin.found.empty()) {
    *error = "the server's certificate is not the one that was named: its fingerprint is " + pin.found + ", not " +
             pin.wanted + "; somebody else may be answering there";
  }
  return shaken && Finish(*ssl, handshake.get(), secrets, error) &&
         SendIntroduction(*ssl, socket, identity, secrets, error);
}

std::unique_ptr<ServerCredentials> ServerCredentials::Make(const std::string& key, const std::string& certificates,
                                                           const std::string& authority, std::string* error) {
  const OpenSsl* ssl = Open(error);
  if (ssl == nullptr) return nullptr;
  Context context = MakeContext(*ssl);
  if (context == nullptr || !UseOwnCertificate(*ssl, context.get(), key, certificates)) {
    *error = "the server's key and certificate cannot be used: " + LastError(*ssl, "they do not belong together");
    return nullptr;
  }
  if (!authority.empty() && !TrustClientsOf(*ssl, context.get(), authority)) {
    *error = "the clients' authority cannot be used: " + LastError(*ssl, "it holds no certificate");
    return nullptr;
  }
  return std::unique_ptr<ServerCredentials>(new ServerCredentials(*ssl, context.release(), authority));
}

bool ServerCredentials::Revoke(const std::string& lists, std::string* error) {
  const ErrorScope scope(ssl_);
  X509_STORE* store = ssl_.X509_STORE_new();
  const Text authority = TextOf(ssl_, authority_), text = TextOf(ssl_, lists);
  size_t found = 0;
  bool fits = store != nullptr && authority != nullptr && text != nullptr;
  for (Certificate each = fits ? ReadCertificate(ssl_, authority.get()) : nullptr; fits && each != nullptr;
       each = ReadCertificate(ssl_, authority.get())) {
    fits = ssl_.X509_STORE_add_cert(store, each.get()) == 1;
  }
  while (fits) {
    X509_CRL* list = ssl_.PEM_read_bio_X509_CRL(text.get(), nullptr, nullptr, nullptr);
    if (list == nullptr) break;
    fits = ssl_.X509_STORE_add_crl(store, list) == 1;
    ssl_.X509_CRL_free(list);
    ++found;
  }
  if (fits && found != 0 && ssl_.X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK) == 1) {
    ssl_.SSL_CTX_set_cert_store(context_, store);  // which takes it, and lets go of the one before
    return true;
  }
  *error = "the revocation lists cannot be used: " + LastError(ssl_, "there is none");
  ssl_.X509_STORE_free(store);
  return false;
}

std::vector<CertificateId> ServerCredentials::NamedBy(const std::string& lists) const {
  const ErrorScope scope(ssl_);
  std::vector<CertificateId> named;
  const Text text = TextOf(ssl_, lists);
  while (text != nullptr) {
    X509_CRL* list = ssl_.PEM_read_bio_X509_CRL(text.get(), nullptr, nullptr, nullptr);
    if (list == nullptr) break;
    const X509_NAME* issuer = ssl_.X509_CRL_get_issuer(list);
    const auto* entries = reinterpret_cast<const OPENSSL_STACK*>(ssl_.X509_CRL_get_REVOKED(list));
    for (int i = 0; i < ssl_.OPENSSL_sk_num(entries); ++i) {
      const auto* entry = static_cast<const X509_REVOKED*>(ssl_.OPENSSL_sk_value(entries, i));
      named.push_back(IdOf(ssl_, issuer, ssl_.X509_REVOKED_get0_serialNumber(entry)));
    }
    ssl_.X509_CRL_free(list);
  }
  return named;
}

ServerCredentials::~ServerCredentials() { ssl_.SSL_CTX_free(context_); }

std::string ServerCredentials::FingerprintOf(const std::string& certificates, std::string* error) {
  const OpenSsl* ssl = Open(error);
  if (ssl == nullptr) return {};
  const Text text = TextOf(*ssl, certificates);
  const Certificate certificate = text == nullptr ? Certificate() : ReadCertificate(*ssl, text.get());
  if (certificate == nullptr) *error = "there is no certificate";
  return certificate == nullptr ? std::string() : tls::FingerprintOf(*ssl, certificate.get());
}

ServerHandshake::ServerHandshake(const ServerCredentials& credentials, int socket)
    : ssl_(credentials.ssl()), handshake_(ssl_.SSL_new(credentials.context())), socket_(socket) {
  if (handshake_ == nullptr || !UseSocket(ssl_, handshake_, socket)) {
    ssl_.SSL_free(handshake_);
    handshake_ = nullptr;
    return;
  }
  ssl_.SSL_set_ex_data(handshake_, 0, &secrets_);
  ssl_.SSL_set_accept_state(handshake_);
}

ServerHandshake::~ServerHandshake() {
  ssl_.SSL_free(handshake_);
  ssl_.OPENSSL_cleanse(&secrets_, sizeof(secrets_));
  ssl_.OPENSSL_cleanse(token_.data(), token_.size());
}

ServerHandshake::Progress ServerHandshake::Go(std::string* error) {
  const ErrorScope scope(ssl_);
  const Progress shaken = shaken_ ? Progress::kDone : Shake(error);
  return shaken == Progress::kDone ? Meet(error) : shaken;
}

ServerHandshake::Progress ServerHandshake::Shake(std::string* error) {
  *error = "no memory for a TLS handshake";
  if (handshake_ == nullptr) return Progress::kFailed;
  const int result = ssl_.SSL_do_handshake(handshake_);
  if (result != 1) {
    const int wanted = ssl_.SSL_get_error(handshake_, result);
    if (wanted == SSL_ERROR_WANT_READ || wanted == SSL_ERROR_WANT_WRITE) return Progress::kWaits;
    *error = wanted == SSL_ERROR_SYSCALL ? "the client ended the connection during the TLS handshake"
                                         : "the TLS handshake failed: " + LastError(ssl_, "no reason is known");
    return Progress::kFailed;
  }
  client_ = NameOf(ssl_, handshake_, &certificate_);
  shaken_ = Finish(ssl_, handshake_, &secrets_, error);
  ssl_.SSL_free(handshake_);
  handshake_ = nullptr;
  return shaken_ ? Progress::kDone : Progress::kFailed;
}

// The introduction, taken when it is whole; what follows stays in the socket.
ServerHandshake::Progress ServerHandshake::Meet(std::string* error) {
  std::array<uint8_t, kIntroductionBytes + kRecordOverhead> record;
  *error = "the client ended the connection without saying who it is";
  const ssize_t there = ::recv(socket_, record.data(), record.size(), MSG_PEEK | MSG_DONTWAIT);
  if (there < 0 && (errno == EAGAIN || errno == EINTR)) return Progress::kWaits;
  if (there <= 0) return Progress::kFailed;
  if (static_cast<size_t>(there) < record.size()) return Progress::kWaits;
  if (::recv(socket_, record.data(), record.size(), MSG_DONTWAIT) != there) return Progress::kFailed;
  const auto cipher = RecordCipher::Make(ssl_, secrets_.suite, secrets_.client, RecordCipher::Use::kOpen, error);
  if (cipher == nullptr) return Progress::kFailed;
  Introduction introduction;
  std::array<uint8_t, kIntroductionBytes + 1> inside;
  size_t size = 0;
  RecordType type{};
  *error = "the client does not say who it is in a way that is known here";
  // Its whole length, before a byte is decrypted: the room is no longer.
  if (size_t{record[3]} * 256 + record[4] != record.size() - kRecordHeader ||
      !cipher->Open(record, inside.data(), &size, &type) || type != RecordType::kData || size != introduction.size()) {
    return Progress::kFailed;
  }
  std::memcpy(introduction.data(), inside.data(), introduction.size());
  secrets_.client.sequence = cipher->records();
  return ReadIntroduction(introduction, &token_, &session_) ? Progress::kDone : Progress::kFailed;
}

}  // namespace vesper::tls
