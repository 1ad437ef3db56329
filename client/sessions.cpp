// Which sessions this process has: the spare, those of instances, and what a fork leaves of them. Declared in session.h.
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "client/log.h"
#include "client/memory/shared_memory.h"
#include "client/memory/tracker.h"
#include "client/session.h"
#include "runtime/address.h"

namespace vesper::client {
namespace {

constexpr std::chrono::milliseconds kConnectTimeout{
    5000};  // over all addresses; a server under load takes its time to start a worker
constexpr std::chrono::seconds kRetryAfter{5};  // when trying took long

struct Sessions {
  std::mutex mutex;  // held while connecting: others that want a session wait for the same answer
  std::shared_ptr<Session> spare;
  std::vector<std::weak_ptr<Session>> live;
  Clock::time_point failed_slowly{};
  bool complained = false;
};

// For the child of a fork, which may take no lock: every session's address, in slots that are written once each.
constexpr size_t kMaxSessions = 4096;
std::atomic<Session*> g_for_fork[kMaxSessions];

Sessions& All() {
  static Sessions* all = new Sessions;  // never destroyed, see statistics.cpp
  return *all;
}

void AfterForkInChild() {
  for (std::atomic<Session*>& entry : g_for_fork) {
    Session* session = entry.load(std::memory_order_relaxed);
    if (session != nullptr) session->Abandon();
    entry.store(nullptr, std::memory_order_relaxed);
  }
  static std::byte inherited[sizeof(Sessions)];  // what they hold is not ours to end, yet is not lost
  std::memcpy(inherited, &All(), sizeof(inherited));
  new (&All()) Sessions;  // over the old, whose lock may be held by a thread that is not here
  ReplaceSharedMappingsAfterFork();
  ForgetStatisticsAfterFork();
  AbandonTrackersAfterFork();
}

void RemoveForFork(Session* session) {
  for (std::atomic<Session*>& entry : g_for_fork) {
    Session* expected = session;
    if (entry.compare_exchange_strong(expected, nullptr)) return;
  }
}

bool AddForFork(Session* session) {
  static const int registered = pthread_atfork(nullptr, nullptr, AfterForkInChild);
  if (registered != 0) return false;
  for (std::atomic<Session*>& entry : g_for_fork) {
    Session* expected = nullptr;
    if (entry.compare_exchange_strong(expected, session)) return true;
  }
  return false;
}

void EndSession(Session* session) {
  RemoveForFork(session);
  // An abandoned one stays: destroying a condition variable waits for sleepers that this process does not have.
  if (!session->abandoned()) delete session;
}

// VESPER_MEMORY: what names a way of finding changes wants it, also where memory could be shared.
bool WantsSharedMemory() {
  const char* how = std::getenv("VESPER_MEMORY");
  return how == nullptr || *how == '\0' || std::strcmp(how, "auto") == 0 || std::strcmp(how, "shared") == 0;
}

Hello MakeHello(const Channel& channel) {
  Hello hello;
  hello.shares_memory = channel.CarriesDescriptors() && WantsSharedMemory();
  hello.fingerprint = kRegistryFingerprint;
  hello.page_size = static_cast<uint32_t>(sysconf(_SC_PAGESIZE));
  hello.pid = static_cast<uint32_t>(getpid());
  const char* validation = std::getenv("VESPER_VALIDATION");
  hello.validation = validation != nullptr && std::strcmp(validation, "1") == 0;
  hello.program = program_invocation_short_name;
  return hello;
}

bool Handshake(Channel* channel, Welcome* welcome, std::string* error) {
  Hello hello = MakeHello(*channel);
  if (!Greet(*channel, hello, welcome, error)) return false;
  if (welcome->names_wanted) {
    hello.commands.assign(kCommandNames, kCommandNames + kCommandCount);
    hello.handle_types.assign(kHandleTypeNames, kHandleTypeNames + kHandleTypeCount);
    if (!Greet(*channel, hello, welcome, error)) return false;
  }
  if (hello.validation && !welcome->validation) {
    Log(LogLevel::kWarn, "VESPER_VALIDATION is set, but the server does not validate: start it with --validation");
  }
  return true;
}

// VESPER_GRACE: seconds of silence after which the server counts as lost.
Timing ChosenTiming() {
  Timing timing;
  const char* text = std::getenv("VESPER_GRACE");
  if (text == nullptr) return timing;
  char* end = nullptr;
  const double seconds = std::strtod(text, &end);
  if (end == text || *end != '\0' || !(seconds >= 0.1 && seconds <= 86400)) {
    Log(LogLevel::kWarn, "VESPER_GRACE=%s is no number of seconds from 0.1 to 86400", text);
    return timing;
  }
  timing.grace = std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
  timing.heartbeat_after = std::min(timing.heartbeat_after, timing.grace / 4);
  return timing;
}

std::vector<Address> Addresses(std::string* error) {
  const char* configured = std::getenv("VESPER_SERVER");
  if (configured == nullptr || *configured == '\0') return DefaultClientAddresses();
  const std::optional<Address> address = ParseAddress(configured, error);
  if (!address) return {};
  return {*address};
}

std::shared_ptr<Session> Open(Sessions* all) {
  const auto start = Clock::now();
  std::string error;
  std::string tried;
  for (const Address& address : Addresses(&error)) {
    const auto left = kConnectTimeout - std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start);
    if (left.count() <= 0) break;
    Welcome welcome;
    std::unique_ptr<Channel> channel = Connect(address, static_cast<int>(left.count()), &error);
    if (channel != nullptr && Handshake(channel.get(), &welcome, &error)) {
      if (!IsLoopback(address)) Log(LogLevel::kInfo, "using the server at %s", address.ToString().c_str());
      std::shared_ptr<Session> session(new Session(std::move(channel), welcome, ChosenTiming()), EndSession);
      if (!AddForFork(session.get())) return nullptr;
      std::erase_if(all->live, [](const std::weak_ptr<Session>& each) { return each.expired(); });
      all->live.push_back(session);
      return session;
    }
    tried += (tried.empty() ? "" : ", ") + address.ToString() + " (" + error + ")";
  }
  if (Clock::now() - start > std::chrono::milliseconds(200)) all->failed_slowly = Clock::now();
  if (!std::exchange(all->complained, true)) {
    Log(LogLevel::kError, "no server at %s: start vesper-server, or name its address in VESPER_SERVER",
        tried.empty() ? error.c_str() : tried.c_str());
  }
  return nullptr;
}

// With the mutex held.
std::shared_ptr<Session> OpenUnlessHopeless(Sessions* all) {
  if (std::getenv("VESPER_WORKER") != nullptr) return nullptr;
  if (all->failed_slowly != Clock::time_point{} && Clock::now() - all->failed_slowly < kRetryAfter) return nullptr;
  return Open(all);
}

}  // namespace

std::shared_ptr<Session> AnySession() noexcept {
  Sessions& all = All();
  const std::lock_guard lock(all.mutex);
  try {
    for (const std::weak_ptr<Session>& each : all.live) {
      std::shared_ptr<Session> session = each.lock();
      if (session != nullptr && !session->lost()) return session;
    }
    all.spare = OpenUnlessHopeless(&all);
    return all.spare;
  } catch (const std::exception& error) {
    Log(LogLevel::kError, "cannot begin a session: %s", error.what());
    return nullptr;
  }
}

std::shared_ptr<Session> TakeSession() noexcept {
  Sessions& all = All();
  const std::lock_guard lock(all.mutex);
  try {
    std::shared_ptr<Session> session = std::move(all.spare);
    all.spare = nullptr;
    if (session != nullptr && !session->lost()) return session;
    return OpenUnlessHopeless(&all);
  } catch (const std::exception& error) {
    Log(LogLevel::kError, "cannot begin a session: %s", error.what());
    return nullptr;
  }
}

}  // namespace vesper::client
