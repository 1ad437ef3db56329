#include "server/entry/door.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <span>
#include <utility>

#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/entry/doorkeeper.h"

namespace vesper::server {
namespace {

using Clock = std::chrono::steady_clock;

Descriptor OpenFile(const std::string& path, std::string* error) {
  Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) *error = fmt::format("{}: {}", path, std::strerror(errno));
  return file;
}

// Others could take the place of the server, or give themselves tokens.
void WarnOfReaders(const std::string& path, const Descriptor& file) {
  struct stat status {};
  if (fstat(file.get(), &status) == 0 && (status.st_mode & 077) != 0) {
    Log(LogLevel::kWarning, "{} can be read by others than its owner: chmod 600", path);
  }
}

}  // namespace

Door::Door(Files files, std::vector<int> listeners, Spawn spawn, Admit admit, Held held)
    : files_(std::move(files)),
      listeners_(std::move(listeners)),
      spawn_(std::move(spawn)),
      admit_(std::move(admit)),
      held_(std::move(held)) {}

Door::~Door() { Kill(); }

void Door::Kill() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  pid_ = 0;
  line_ = Descriptor();
}

bool Door::ReadTokens(std::string* error) {
  const Descriptor file = OpenFile(files_.tokens, error);
  if (!file.valid()) return false;
  WarnOfReaders(files_.tokens, file);
  std::string text(limits::kMaxFileBytes, '\0');
  const ssize_t count = pread(file.get(), text.data(), text.size(), 0);
  text.resize(count < 0 ? 0 : static_cast<size_t>(count));
  std::optional<Tokens> tokens = Tokens::Parse(text, error);
  if (!tokens) *error = files_.tokens + ", " + *error;
  if (tokens) tokens_ = std::move(*tokens);
  return tokens.has_value();
}

bool Door::Send(std::string* error) {
  const auto pass = [&](DoorOrder order, int descriptor) {
    if (Pass(line_.get(), std::as_bytes(std::span(&order, 1)), descriptor)) return true;
    *error = fmt::format("the door's process does not listen: {}", std::strerror(errno));
    return false;
  };
  for (const auto& [order, path] : {std::pair(DoorOrder::kKey, &files_.key),
                                    {DoorOrder::kCertificate, &files_.certificate},
                                    {DoorOrder::kTokens, &files_.tokens},
                                    {DoorOrder::kClientAuthority, &files_.client_authority},
                                    {DoorOrder::kRevocations, &files_.revocations}}) {
    if (path->empty()) continue;
    const Descriptor file = OpenFile(*path, error);
    if (!file.valid()) return false;
    if (order == DoorOrder::kKey) WarnOfReaders(*path, file);
    if (!pass(order, file.get())) return false;
  }
  for (const int listener : listeners_) {
    if (!pass(DoorOrder::kListener, listener)) return false;
  }
  return pass(DoorOrder::kOpen, -1) && (!draining_ || pass(DoorOrder::kDrain, -1));
}

// False when the process does not listen.
bool Door::AskOfHeld() {
  const std::vector<tls::CertificateId> ids =
      files_.revocations.empty() ? std::vector<tls::CertificateId>() : held_.list();
  if (ids.empty()) return true;
  const Descriptor file(memfd_create("vesper-held", MFD_CLOEXEC));
  const auto bytes = std::as_bytes(std::span(ids));
  if (!file.valid() || write(file.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
    Log(LogLevel::kError, "sessions of revoked certificates go on: {}", std::strerror(errno));
    return true;
  }
  const DoorOrder order = DoorOrder::kHeld;
  return Pass(line_.get(), std::as_bytes(std::span(&order, 1)), file.get());
}

bool Door::Start(std::string* error) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    *error = std::strerror(errno);
    return false;
  }
  line_ = Descriptor(pair[0]);
  const Descriptor theirs(pair[1]);
  ready_ = false;
  pid_ = spawn_(theirs.get());
  if (pid_ < 0) *error = std::strerror(errno);
  if (pid_ > 0 && Send(error)) return true;
  Kill();
  return false;
}

bool Door::Open(std::string* error) {
  if (!ReadTokens(error) || !Start(error)) return false;
  const auto deadline = Clock::now() + limits::kDoorPatience;
  while (!ready_ && problem_.empty() && line_.valid() && Clock::now() < deadline) {
    pollfd entry{line_.get(), POLLIN, 0};
    poll(&entry, 1, limits::kStartLook.count());
    Look();
  }
  if (!ready_) *error = problem_.empty() ? "the door's process does not begin" : problem_;
  return ready_;
}

bool Door::Knows(std::string_view name) const {
  return name.starts_with(kCertificateName) ? !files_.client_authority.empty() : tokens_.Named(name) != nullptr;
}

void Door::Look() {
  for (int i = 0; i < limits::kMaxDoorReports && line_.valid(); ++i) {
    DoorReport report;
    Descriptor socket;
    const LineStatus status = TakePassed(line_.get(), std::as_writable_bytes(std::span(&report, 1)), &socket);
    if (status == LineStatus::kNothing) return;
    if (status == LineStatus::kEnded) {
      line_ = Descriptor();  // the end of the process is seen by waitpid()
      return;
    }
    report.text.back() = '\0';
    report.admission.who.back() = '\0';
    report.admission.guest = 0;
    switch (report.kind) {
      case DoorReport::Kind::kReady:
        ready_ = true;
        fingerprint_ = report.text.data();
        AskOfHeld();  // lists may have changed while there was no process
        break;
      case DoorReport::Kind::kRevoked:
        held_.revoked(report.admission.certificate);
        break;
      case DoorReport::Kind::kFailed:
        problem_ = report.text.data();
        Log(LogLevel::kError, "the door stays shut: {}", problem_);
        break;
      case DoorReport::Kind::kAdmitted:
        if (socket.valid()) admit_(socket.Release(), report.admission);
        break;
      case DoorReport::Kind::kRefused:
        refused_ += report.refused;
        break;
      case DoorReport::Kind::kTokens:
        Log(LogLevel::kError, "the door goes on with what it had: {}", report.text.data());
        break;
    }
  }
}

void Door::Tick() {
  if (pid_ > 0 || Clock::now() - ended_ < limits::kDoorRestartAfter) return;
  std::string error;
  ended_ = Clock::now();
  if (!Start(&error)) Log(LogLevel::kError, "nobody can come in by TLS: {}", error);
}

bool Door::Ended(pid_t pid, const std::string& cause) {
  if (pid != pid_) return false;
  Look();  // it may have let clients in before it ended
  line_ = Descriptor();
  pid_ = 0;
  ended_ = Clock::now();
  Log(LogLevel::kError, "the door's process ended with {}; it is started again", cause);
  return true;
}

bool Door::ReloadTokens(std::string* error) {
  if (!ReadTokens(error)) return false;
  Log(LogLevel::kInfo, "{}: {} tokens", files_.tokens, tokens_.size());
  if (!line_.valid()) return true;  // the process gets them when it starts
  bool passed = true;
  for (const auto& [order, path] :
       {std::pair(DoorOrder::kTokens, &files_.tokens), {DoorOrder::kRevocations, &files_.revocations}}) {
    if (path->empty()) continue;
    const Descriptor file = OpenFile(*path, error);
    if (!file.valid()) Log(LogLevel::kError, "{}", *error);
    passed = passed && (!file.valid() || Pass(line_.get(), std::as_bytes(std::span(&order, 1)), file.get()));
  }
  if (passed && AskOfHeld()) return true;
  Kill();  // Tick() starts it again, with the new tokens
  ended_ = Clock::now();
  return true;
}

void Door::Drain() {
  draining_ = true;
  const DoorOrder order = DoorOrder::kDrain;
  if (!line_.valid() || Pass(line_.get(), std::as_bytes(std::span(&order, 1)), -1)) return;
  Kill();  // Tick() starts it again, and it is told then
  ended_ = Clock::now();
}

}  // namespace vesper::server
