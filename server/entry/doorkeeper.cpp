#include "server/entry/doorkeeper.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "runtime/handshake.h"
#include "runtime/tls/handshake.h"
#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/entry/peer.h"
#include "server/entry/tokens.h"
#include "server/sandbox/sandbox.h"

namespace vesper::server {
namespace {

using Clock = std::chrono::steady_clock;
using tls::ServerHandshake;

// Of TLS (RFC 8446, 5.1): a record's first byte and how long its header is.
constexpr uint8_t kHandshakeRecord = 22;
constexpr size_t kRecordHeaderBytes = 5;

std::string ReadFile(const Descriptor& file) {
  std::string text;
  std::array<char, 4096> part;
  ssize_t count;
  while (text.size() < limits::kMaxFileBytes &&
         (count = pread(file.get(), part.data(), part.size(), static_cast<off_t>(text.size()))) > 0) {
    text.append(part.data(), static_cast<size_t>(count));
  }
  return text;
}

bool Report(int line, DoorReport::Kind kind, const std::string& text) {
  DoorReport report;
  report.kind = kind;
  text.copy(report.text.data(), report.text.size() - 1);
  return Pass(line, std::as_bytes(std::span(&report, 1)));
}

// Counts failures by origin. Who fails again and again is not listened to for a while (limits.h), since handshakes cost time.
class Failures {
 public:
  void Note(const std::string& origin, Clock::time_point now) {
    if (all_.size() >= limits::kMaxOrigins) Forget(now);
    if (all_.size() >= limits::kMaxOrigins) all_.clear();
    Entry& entry = all_[origin];
    if (now - entry.last > limits::kForgetFailures) entry.count = 0;
    ++entry.count;
    entry.last = now;
  }
  void Pardon(const std::string& origin) { all_.erase(origin); }
  bool Pauses(const std::string& origin, Clock::time_point now) const {
    const auto found = all_.find(origin);
    if (found == all_.end() || found->second.count < limits::kFailuresForFree) return false;
    std::chrono::milliseconds pause = limits::kFirstPause;
    for (size_t i = limits::kFailuresForFree; i < found->second.count && pause < limits::kLongestPause; ++i) pause *= 2;
    return now - found->second.last < std::min(pause, limits::kLongestPause);
  }

 private:
  struct Entry {
    size_t count = 0;
    Clock::time_point last;
  };
  void Forget(Clock::time_point now) {
    std::erase_if(all_, [now](const auto& each) { return now - each.second.last > limits::kForgetFailures; });
  }
  std::unordered_map<std::string, Entry> all_;
};

// Lives on the stack of RunDoorkeeper(), and has one thread. Never waits for a peer.
class Doorkeeper {
 public:
  explicit Doorkeeper(int line) : line_(line), epoll_(epoll_create1(EPOLL_CLOEXEC)) {}
  ~Doorkeeper() {
    for (auto& [number, stranger] : strangers_) close(stranger.socket);
  }

  // Takes orders until the last of them, kOpen. False with a sentence.
  bool Prepare(std::string* error);
  // Lets strangers in until the supervisor ends.
  void Serve();
  const std::string& fingerprint() const { return fingerprint_; }

 private:
  struct Stranger {
    int socket = -1;
    std::string origin;
    Clock::time_point since;
    std::unique_ptr<ServerHandshake> handshake;  // nullptr until its whole ClientHello has come
  };
  using Strangers = std::map<uint64_t, Stranger>;  // by their number, the oldest first

  static constexpr uint64_t kLine = 0;
  static constexpr uint64_t kFirstListener = 1;
  static constexpr uint64_t kFirstStranger = 1 << 10;

  bool Watch(int descriptor, uint64_t number, uint32_t events);
  bool TakeOrders();
  void TakeOrder(DoorOrder order, Descriptor descriptor);
  void UseTokens(const Descriptor& file);
  void UseRevocations(const Descriptor& file);
  void LookFor(const Descriptor& held);
  void Accept(int listener);
  void MakeRoom(const std::string& origin);
  void Hear(Strangers::iterator stranger);
  // Whether its whole ClientHello has come. Ends a stranger that begins with something else.
  bool BeginsWell(Strangers::iterator stranger);
  void Begin(Stranger* stranger);
  void Judge(Strangers::iterator stranger);
  void Refuse(Strangers::iterator stranger, const std::string& why);
  void End(Strangers::iterator stranger);
  void Tick();

  const int line_;
  const Descriptor epoll_;
  std::string key_, certificate_, authority_, revocations_;
  std::string fingerprint_;
  std::string problem_;
  bool open_ = false;
  bool draining_ = false;
  std::unique_ptr<tls::ServerCredentials> credentials_;
  Tokens tokens_;
  std::vector<Descriptor> listeners_;
  Strangers strangers_;
  size_t handshakes_ = 0;
  uint64_t numbers_ = kFirstStranger;
  Failures failures_;
  RefusalLog refusals_;
  uint64_t reported_ = 0;  // how many refusals the supervisor has been told of
  Clock::time_point ticked_;
};

bool Doorkeeper::Watch(int descriptor, uint64_t number, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = number;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &event) == 0;
}

bool Doorkeeper::Prepare(std::string* error) {
  pollfd entry{line_, POLLIN, 0};
  while (!open_) {
    if (poll(&entry, 1, -1) < 0 && errno != EINTR) return false;
    if (!TakeOrders()) return false;
  }
  *error = problem_;
  if (!error->empty()) return false;
  credentials_ = tls::ServerCredentials::Make(key_, certificate_, authority_, error);
  if (credentials_ == nullptr) return false;
  if (!revocations_.empty() && !credentials_->Revoke(revocations_, error)) return false;
  key_.assign(key_.size(), '\0');
  fingerprint_ = tls::ServerCredentials::FingerprintOf(certificate_, error);
  bool watched = Watch(line_, kLine, EPOLLIN);
  for (size_t i = 0; i < listeners_.size(); ++i) watched &= Watch(listeners_[i].get(), kFirstListener + i, EPOLLIN);
  if (!watched) *error = std::string("epoll: ") + std::strerror(errno);
  return watched && !fingerprint_.empty();
}

// False when the supervisor has ended.
bool Doorkeeper::TakeOrders() {
  for (;;) {
    DoorOrder order{};
    Descriptor descriptor;
    switch (TakePassed(line_, std::as_writable_bytes(std::span(&order, 1)), &descriptor)) {
      case LineStatus::kEnded:
        return false;
      case LineStatus::kNothing:
        return true;
      case LineStatus::kMessage:
        TakeOrder(order, std::move(descriptor));
    }
  }
}

void Doorkeeper::TakeOrder(DoorOrder order, Descriptor descriptor) {
  switch (order) {
    case DoorOrder::kKey:
      key_ = ReadFile(descriptor);
      break;
    case DoorOrder::kCertificate:
      certificate_ = ReadFile(descriptor);
      break;
    case DoorOrder::kClientAuthority:
      authority_ = ReadFile(descriptor);
      break;
    case DoorOrder::kRevocations:
      UseRevocations(descriptor);
      break;
    case DoorOrder::kTokens:
      UseTokens(descriptor);
      break;
    case DoorOrder::kHeld:
      LookFor(descriptor);
      break;
    case DoorOrder::kListener:
      listeners_.push_back(std::move(descriptor));
      break;
    case DoorOrder::kOpen:
      open_ = true;
      break;
    case DoorOrder::kDrain:
      draining_ = true;
      break;
  }
}

void Doorkeeper::UseTokens(const Descriptor& file) {
  std::string error;
  std::optional<Tokens> tokens = Tokens::Parse(ReadFile(file), &error);
  if (tokens) {
    tokens_ = std::move(*tokens);
  } else if (open_) {
    Report(line_, DoorReport::Kind::kTokens, error);
  } else {
    problem_ = "the tokens: " + error;
  }
}

void Doorkeeper::UseRevocations(const Descriptor& file) {
  revocations_ = ReadFile(file);
  std::string error;
  if (credentials_ != nullptr && !credentials_->Revoke(revocations_, &error)) {
    Report(line_, DoorReport::Kind::kTokens, error);
  }
}

// Lists that cannot be read, or are out of date, say nothing of sessions that were begun before.
void Doorkeeper::LookFor(const Descriptor& held) {
  if (credentials_ == nullptr) return;
  const std::string ids = ReadFile(held);
  std::set<tls::CertificateId> revoked;
  for (const tls::CertificateId& id : credentials_->NamedBy(revocations_)) revoked.insert(id);
  DoorReport report;
  report.kind = DoorReport::Kind::kRevoked;
  tls::CertificateId& id = report.admission.certificate;
  for (size_t at = 0; at + id.size() <= ids.size(); at += id.size()) {
    std::memcpy(id.data(), ids.data() + at, id.size());
    if (revoked.contains(id)) Pass(line_, std::as_bytes(std::span(&report, 1)));
  }
}

void Doorkeeper::Serve() {
  for (;;) {
    std::array<epoll_event, limits::kEventsAtOnce> events;
    const int wait =
        strangers_.empty() && refusals_.total() == reported_ ? -1 : static_cast<int>(limits::kDoorTick.count());
    const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), wait);
    if (count < 0 && errno != EINTR) return;
    for (int i = 0; i < count; ++i) {
      const uint64_t number = events[static_cast<size_t>(i)].data.u64;
      if (number == kLine) {
        if (!TakeOrders()) return;
      } else if (number < kFirstStranger) {
        Accept(listeners_[number - kFirstListener].get());
      } else if (const auto stranger = strangers_.find(number); stranger != strangers_.end()) {
        Hear(stranger);
      }
    }
    if (Clock::now() - ticked_ >= limits::kDoorTick) Tick();
  }
}

void Doorkeeper::Accept(int listener) {
  for (int i = 0; i < limits::kMaxAccepted; ++i) {
    const int socket = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (socket < 0 && (errno == EMFILE || errno == ENFILE) && !strangers_.empty()) {
      End(strangers_.begin());
      continue;
    }
    if (socket < 0) return;
    std::string origin = OriginOf(socket);
    MakeRoom(origin);
    const uint64_t number = numbers_++;
    if (!Watch(socket, number, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)) {
      close(socket);
      continue;
    }
    Stranger& stranger = strangers_[number];
    stranger.socket = socket;
    stranger.origin = std::move(origin);
    stranger.since = Clock::now();
  }
}

void Doorkeeper::MakeRoom(const std::string& origin) {
  const auto is_neighbour = [&](const auto& entry) { return entry.second.origin == origin; };
  const auto neighbours = std::count_if(strangers_.begin(), strangers_.end(), is_neighbour);
  if (static_cast<size_t>(neighbours) >= limits::kMaxStrangersOfOneOrigin) {
    End(std::find_if(strangers_.begin(), strangers_.end(), is_neighbour));
  } else if (strangers_.size() >= limits::kMaxStrangers) {
    End(strangers_.begin());
  }
}

void Doorkeeper::Hear(Strangers::iterator stranger) {
  Stranger& who = stranger->second;
  if (who.handshake == nullptr) {
    if (failures_.Pauses(who.origin, Clock::now()) || !BeginsWell(stranger)) return;
    Begin(&who);
  }
  std::string error;
  switch (who.handshake->Go(&error)) {
    case ServerHandshake::Progress::kWaits:
      return;
    case ServerHandshake::Progress::kDone:
      return Judge(stranger);
    case ServerHandshake::Progress::kFailed:
      refusals_.Note(error);
      failures_.Note(who.origin, Clock::now());
      TakeWhatIsThere(who.socket);  // else the kernel would take back the alert, which says why
      return End(stranger);
  }
}

// The bytes stay in the socket, so that a stranger that sends a part of its ClientHello costs no memory here.
bool Doorkeeper::BeginsWell(Strangers::iterator stranger) {
  std::array<uint8_t, kMaxFirstHelloBytes> bytes;
  const ssize_t count = recv(stranger->second.socket, bytes.data(), bytes.size(), MSG_PEEK | MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (count <= 0) {
    End(stranger);
    return false;
  }
  const std::span<const uint8_t> here = std::span(bytes).first(static_cast<size_t>(count));
  if (here[0] == kHandshakeRecord) {
    if (here.size() < kRecordHeaderBytes) return false;
    const size_t record = kRecordHeaderBytes + size_t{here[3]} * 256 + here[4];
    if (here[1] == 3 && record <= bytes.size()) return here.size() >= record;
  }
  Hello hello;
  std::string ignored;
  const Heard heard = HearHello(here, &hello, &ignored);
  if (heard == Heard::kPart && here[0] != kHandshakeRecord) return false;
  const bool probes = heard == Heard::kHello && hello.program == kProbeProgram;
  if (!probes) refusals_.Note(heard == Heard::kHello ? "a client without TLS" : "what came is no TLS");
  if (heard == Heard::kHello) {
    tls::Secrets none{};
    TakeWhatIsThere(stranger->second.socket);
    const char* const answer = !probes     ? "it speaks TLS here: write tls:// instead of tcp://"
                               : draining_ ? kDraining
                                           : kReady;
    Tell(stranger->second.socket, &none, MessageKind::kRefused, answer);
    shutdown(stranger->second.socket, SHUT_RDWR);
  }
  End(stranger);
  return false;
}

void Doorkeeper::Begin(Stranger* stranger) {
  if (handshakes_ >= limits::kMaxHandshakes) {
    const auto oldest = std::find_if(strangers_.begin(), strangers_.end(),
                                     [](const auto& each) { return each.second.handshake != nullptr; });
    if (oldest != strangers_.end()) End(oldest);
  }
  stranger->handshake = std::make_unique<ServerHandshake>(*credentials_, stranger->socket);
  ++handshakes_;
}

void Doorkeeper::Judge(Strangers::iterator stranger) {
  Stranger& who = stranger->second;
  DoorReport report;
  report.kind = DoorReport::Kind::kAdmitted;
  report.admission.secrets = who.handshake->secrets();
  if (!who.handshake->client().empty()) {
    report.admission.set_name(std::string(kCertificateName) + who.handshake->client());
    report.admission.certificate = who.handshake->certificate();
  } else {
    TokenDigest digest{};
    size_t size = 0;
    const std::string& token = who.handshake->token();
    const tls::OpenSsl& ssl = credentials_->ssl();
    ssl.EVP_Q_digest(ssl.context, "SHA256", nullptr, token.data(), token.size(), digest.data(), &size);
    const Token* known = token.empty() || size != digest.size() ? nullptr : tokens_.Find(digest);
    if (known == nullptr) {
      failures_.Note(who.origin, Clock::now());
      return Refuse(stranger, token.empty()
                                  ? "a token is needed: name it in VESPER_TOKEN, or a certificate in VESPER_CERTIFICATE"
                                  : "the token is not, or no longer, one of this server's");
    }
    report.admission.set_name(known->name);
    report.admission.memory_mib = known->memory_mib;
    report.admission.gpu_seconds = known->gpu_seconds;
    report.admission.idle_seconds = known->idle_seconds;
    report.admission.queued_mib = known->queued_mib;
  }
  report.admission.resumes = who.handshake->session();
  failures_.Pardon(who.origin);
  if (!Pass(line_, std::as_bytes(std::span(&report, 1)), who.socket)) {
    return Refuse(stranger, "the server has too many clients to look after at the moment");
  }
  End(stranger);  // the supervisor has its own descriptor of the socket by now
}

void Doorkeeper::Refuse(Strangers::iterator stranger, const std::string& why) {
  refusals_.Note(why);
  tls::Secrets secrets = stranger->second.handshake->secrets();
  TakeWhatIsThere(stranger->second.socket);
  Tell(stranger->second.socket, &secrets, MessageKind::kRefused, why);
  shutdown(stranger->second.socket, SHUT_RDWR);
  End(stranger);
}

void Doorkeeper::End(Strangers::iterator stranger) {
  if (stranger->second.handshake != nullptr) --handshakes_;
  close(stranger->second.socket);
  strangers_.erase(stranger);
}

void Doorkeeper::Tick() {
  const auto now = ticked_ = Clock::now();
  refusals_.Tick();
  if (const uint64_t refused = refusals_.total(); refused != reported_) {
    DoorReport report;
    report.kind = DoorReport::Kind::kRefused;
    report.refused = refused - reported_;
    if (Pass(line_, std::as_bytes(std::span(&report, 1)))) reported_ = refused;
  }
  std::vector<uint64_t> numbers;  // copied, because Hear() may end other strangers
  for (const auto& [number, stranger] : strangers_) numbers.push_back(number);
  for (const uint64_t number : numbers) {
    const auto stranger = strangers_.find(number);
    if (stranger == strangers_.end()) continue;
    if (now - stranger->second.since >= limits::kStrangerPatience) {
      refusals_.Note("it did not say who it is in time");
      End(stranger);
    } else if (stranger->second.handshake == nullptr) {
      Hear(stranger);  // its origin may have been paused when its bytes came
    }
  }
}

}  // namespace

int RunDoorkeeper(int line, const std::string& sandbox_name, uint32_t user) {
  prctl(PR_SET_NAME, "vesper-door");
  std::string error;
  const auto fail = [line](const std::string& why) {
    Report(line, DoorReport::Kind::kFailed, why);
    return 1;
  };
  if (tls::Open(&error) == nullptr) return fail(error);
  const Sandbox sandbox = SandboxOf(sandbox_name).value_or(Sandbox::kOff);
  const bool entered = EnterSandbox(sandbox, user, line, &error);
  if (!entered) return fail("it cannot be confined: " + error);
  Doorkeeper doorkeeper(line);
  if (!doorkeeper.Prepare(&error)) return fail(error);
  if (!SealSandbox(sandbox, &error)) return fail("it cannot be confined: " + error);
  if (!Report(line, DoorReport::Kind::kReady, doorkeeper.fingerprint())) return 1;
  doorkeeper.Serve();
  return 0;
}

}  // namespace vesper::server
