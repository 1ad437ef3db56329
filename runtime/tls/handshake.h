// How a TLS 1.3 connection begins; older versions are refused. OpenSSL does it, and is done with when it has: what goes on is
// a Stream of the Secrets. Connect() uses the client's part, the server's process that strangers meet the other.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/tls/openssl.h"
#include "runtime/tls/secrets.h"
#include "runtime/transport/deadline.h"

namespace vesper::tls {

// Whom a client trusts and who it is. Files are in PEM.
struct Identity {
  std::string
      fingerprint;  // of the server's certificate, in any form that ReadFingerprint() takes; if not empty, that alone
  std::string authority_file;  // else who must have signed it for this host; empty: whom the system trusts
  std::string token;
  uint64_t session = 0;          // that is to go on over this connection, unless 0
  std::string certificate_file;  // the client's own, if it has one
  std::string key_file;
};

// The SHA-256 of a certificate, as people write it: 64 hexadecimal digits, with "SHA256:" before them and colons between
// them or not. Empty for anything else; else in one form.
std::string ReadFingerprint(const std::string& text);

// Does all until the client's introduction is sent, on a connected non-blocking socket, within `deadline`. The server has
// answered for itself by then, but may still refuse. False with a sentence.
bool ConnectSecurely(int socket, const std::string& host, const Identity& identity, const transport::Deadline& deadline,
                     Secrets* secrets, std::string* error);

// A server's key and certificates. Not thread-safe.
class ServerCredentials {
 public:
  // Of PEM texts. `authority`, if not empty, is whose clients need no token. nullptr with a sentence.
  static std::unique_ptr<ServerCredentials> Make(const std::string& key, const std::string& certificates,
                                                 const std::string& authority, std::string* error);
  ~ServerCredentials();
  // From now on certificates of clients that these lists (PEM) of the authority name are refused, and all where they are out of date.
  // False with a sentence; then it is as before.
  bool Revoke(const std::string& lists, std::string* error);
  // Those that the lists name.
  std::vector<CertificateId> NamedBy(const std::string& lists) const;
  ServerCredentials(const ServerCredentials&) = delete;
  ServerCredentials& operator=(const ServerCredentials&) = delete;

  const OpenSsl& ssl() const { return ssl_; }
  SSL_CTX* context() const { return context_; }
  // Of the first certificate of a text.
  static std::string FingerprintOf(const std::string& certificates, std::string* error);

 private:
  ServerCredentials(const OpenSsl& ssl, SSL_CTX* context, std::string authority)
      : ssl_(ssl), context_(context), authority_(std::move(authority)) {}
  const OpenSsl& ssl_;
  SSL_CTX* context_;
  const std::string authority_;
};

// The server's side of one handshake, and what the client then says of itself. Not thread-safe; nothing waits.
class ServerHandshake {
 public:
  // Both stay the caller's and live longer.
  ServerHandshake(const ServerCredentials& credentials, int socket);
  ~ServerHandshake();
  ServerHandshake(const ServerHandshake&) = delete;
  ServerHandshake& operator=(const ServerHandshake&) = delete;

  enum class Progress : uint8_t { kWaits, kDone, kFailed };
  // Goes on with what the socket has; after kFailed there is a sentence.
  Progress Go(std::string* error);
  // When done:
  const Secrets& secrets() const { return secrets_; }
  const std::string& client() const { return client_; }  // whom a certificate of the authority names, else empty
  const CertificateId& certificate() const { return certificate_; }
  const std::string& token() const { return token_; }  // as the client says it
  uint64_t session() const { return session_; }        // that is to go on, as the client says it, or 0

 private:
  Progress Shake(std::string* error);
  Progress Meet(std::string* error);

  const OpenSsl& ssl_;
  SSL* handshake_;
  const int socket_;
  bool shaken_ = false;
  Secrets secrets_{};
  std::string client_;
  CertificateId certificate_{};
  std::string token_;
  uint64_t session_ = 0;
};

}  // namespace vesper::tls
