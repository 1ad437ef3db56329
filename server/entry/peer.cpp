#include "server/entry/peer.h"

#include <netinet/in.h>
#include <sys/socket.h>
// after it, whose types it uses
#include <linux/vm_sockets.h>

#include <array>
#include <vector>

#include "runtime/handshake.h"
#include "runtime/tls/record.h"
#include "server/base/limits.h"
#include "server/base/log.h"

namespace vesper::server {
namespace {

std::vector<uint8_t> Sealed(const std::vector<uint8_t>& notice, tls::Secrets* secrets) {
  std::string error;
  const tls::OpenSsl* ssl = tls::Open(&error);
  const auto cipher = ssl == nullptr ? nullptr
                                     : tls::RecordCipher::Make(*ssl, secrets->suite, secrets->server,
                                                               tls::RecordCipher::Use::kSeal, &error);
  if (cipher == nullptr) return {};
  std::vector<uint8_t> record(notice.size() + tls::kRecordOverhead);
  const iovec piece{const_cast<uint8_t*>(notice.data()), notice.size()};
  record.resize(cipher->Seal(tls::RecordType::kData, {&piece, 1}, record.data()));
  secrets->server.sequence = cipher->records();
  return record;
}

}  // namespace

std::string OriginOf(int socket) {
  sockaddr_storage name{};
  socklen_t length = sizeof(name);
  if (getpeername(socket, reinterpret_cast<sockaddr*>(&name), &length) != 0) return "unknown";
  std::string origin(1, static_cast<char>(name.ss_family));
  if (name.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(name);
    origin.append(reinterpret_cast<const char*>(&v4.sin_addr), sizeof(v4.sin_addr));
  } else if (name.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(name);
    origin.append(reinterpret_cast<const char*>(&v6.sin6_addr), limits::kOriginBytesV6);
  } else if (name.ss_family == AF_VSOCK) {
    origin += std::to_string(reinterpret_cast<const sockaddr_vm&>(name).svm_cid);
  } else {
    ucred peer{};
    length = sizeof(peer);
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0) origin += std::to_string(peer.uid);
  }
  return origin;
}

bool Tell(int socket, tls::Secrets* secrets, MessageKind kind, const std::string& text) {
  std::vector<uint8_t> notice = EncodeNotice(kind, text);
  if (secrets->suite != 0 && !notice.empty()) notice = Sealed(notice, secrets);
  if (notice.empty()) return false;
  return send(socket, notice.data(), notice.size(), MSG_NOSIGNAL | MSG_DONTWAIT) == static_cast<ssize_t>(notice.size());
}

void TakeWhatIsThere(int socket) {
  std::array<char, kMaxFirstHelloBytes> bytes;
  for (int i = 0; i < limits::kMaxFarewellReads && recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT) > 0; ++i) {
  }
}

void RefusalLog::Note(const std::string& refusal) {
  last_ = refusal;
  ++unsaid_;
  ++total_;
  if (const auto now = std::chrono::steady_clock::now(); now - said_ >= limits::kRefusalLines) Say(now);
}

void RefusalLog::Tick() {
  if (const auto now = std::chrono::steady_clock::now(); unsaid_ != 0 && now - said_ >= limits::kRefusalLines) Say(now);
}

void RefusalLog::Say(std::chrono::steady_clock::time_point now) {
  Log(LogLevel::kWarning, "{} {} refused: {}", unsaid_, unsaid_ == 1 ? "peer is" : "peers are, the last,", last_);
  unsaid_ = 0;
  said_ = now;
}

}  // namespace vesper::server
