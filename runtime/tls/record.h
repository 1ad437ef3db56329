// The record layer of TLS 1.3 (RFC 8446, chapter 5), with OpenSSL's ciphers. OpenSSL's own lives in the object that did the
// handshake: it cannot go to another process, and two threads may not use it at once. This is all that a connection needs
// once its handshake is done.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "runtime/tls/openssl.h"
#include "runtime/tls/secrets.h"

namespace vesper::tls {

inline constexpr size_t kRecordHeader = 5;
inline constexpr size_t kRecordTag = 16;
inline constexpr size_t kRecordPlain = size_t{16} << 10;                   // at most, of one record
inline constexpr size_t kRecordOverhead = kRecordHeader + 1 + kRecordTag;  // the type is encrypted, too
inline constexpr size_t kRecordBody = kRecordPlain + 256;                  // at most, of a peer

enum class RecordType : uint8_t { kAlert = 21, kHandshake = 22, kData = 23 };

// One direction of a connection. Not thread-safe.
class RecordCipher {
 public:
  enum class Use : uint8_t { kSeal, kOpen };
  // nullptr with a sentence.
  static std::unique_ptr<RecordCipher> Make(const OpenSsl& ssl, uint16_t suite, const Secrets::Direction& direction,
                                            Use use, std::string* error);
  ~RecordCipher();
  RecordCipher(const RecordCipher&) = delete;
  RecordCipher& operator=(const RecordCipher&) = delete;

  // Writes a whole record, of kRecordOverhead bytes more than the pieces have, which is at most kRecordPlain. 0 on failure.
  size_t Seal(RecordType type, std::span<const iovec> pieces, uint8_t* out);
  // `record` is whole. Writes its inside to `out`, which has room for the record's body, less the tag, and says how much of it
  // is content. False for what the peer has not sent so.
  bool Open(std::span<const uint8_t> record, uint8_t* out, size_t* content, RecordType* type);
  // The next key, after this one has protected `records()` of them.
  bool Update();
  uint64_t records() const { return sequence_; }

 private:
  struct Suite;
  RecordCipher(const OpenSsl& ssl, const Suite& suite, Use use) : ssl_(ssl), suite_(suite), use_(use) {}
  static const Suite* SuiteOf(uint16_t number);
  bool Expand(const char* label, std::span<uint8_t> out) const;
  bool SetKey();
  // Begins the record with that header.
  bool Begin(const uint8_t* header);

  const OpenSsl& ssl_;
  const Suite& suite_;
  const Use use_;
  EVP_CIPHER* cipher_ = nullptr;
  EVP_CIPHER_CTX* state_ = nullptr;
  std::array<uint8_t, kMaxSecretBytes> secret_{};
  std::array<uint8_t, 12> iv_{};
  uint64_t sequence_ = 0;
};

}  // namespace vesper::tls
