// Which sessions this process has: the spare, those of instances, and what a fork leaves of them. Declared in session.h.
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "client/base/immortal.h"
#include "client/base/limits.h"
#include "client/base/log.h"
#include "client/base/thread.h"
#include "client/memory/shared_memory.h"
#include "client/session/physical_device.h"
#include "client/session/session.h"
#include "client/tracking/tracker.h"
#include "runtime/address.h"
#include "runtime/configuration.h"
#include "runtime/environment.h"
#include "runtime/mutex.h"

namespace vesper::client {
namespace {

struct Sessions {
  Mutex mutex;  // held while connecting: others that want a session wait for the same answer
  std::shared_ptr<Session> spare VESPER_GUARDED_BY(mutex);
  std::string spare_server VESPER_GUARDED_BY(mutex);
  // Of several servers those that did not answer: who has been told of, and who cost time and is left alone.
  std::vector<std::string> named VESPER_GUARDED_BY(mutex), dead VESPER_GUARDED_BY(mutex);
  std::vector<std::weak_ptr<Session>> live VESPER_GUARDED_BY(mutex);
  Clock::time_point failed_slowly VESPER_GUARDED_BY(mutex){};
  bool complained VESPER_GUARDED_BY(mutex) = false;
};

// For the child of a fork, which may take no lock: every session's address, in slots that are written once each.
std::atomic<Session*> g_for_fork[limits::kMaxSessions];

Sessions& All() {
  static Immortal<Sessions> all;
  return *all;
}

void AfterForkInChild() {
  for (std::atomic<Session*>& entry : g_for_fork) {
    Session* session = entry.load(std::memory_order_relaxed);
    if (session != nullptr) session->Abandon();
    entry.store(nullptr, std::memory_order_relaxed);
  }
  static std::byte inherited[sizeof(Sessions)];  // what they hold is not ours to end, yet is not lost
  // NOLINTNEXTLINE(bugprone-undefined-memory-manipulation): only for tools that look for lost memory to find it here
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
  const char* how = Setting("VESPER_MEMORY");
  return how == nullptr || std::strcmp(how, "auto") == 0 || std::strcmp(how, "shared") == 0;
}

Hello MakeHello(const Channel& channel) {
  Hello hello;
  hello.shares_memory = (channel.CarriesDescriptors() || channel.NamesPlaces()) && WantsSharedMemory();
  hello.ring = WantsRing(channel);
  std::string unknown;
  hello.compression = WantedCompression(channel, &unknown);
  if (!unknown.empty()) Log(LogLevel::kWarn, "%s", unknown.c_str());
  hello.fingerprint = kRegistryFingerprint;
  hello.page_size = static_cast<uint32_t>(sysconf(_SC_PAGESIZE));
  hello.pid = static_cast<uint32_t>(getpid());
  const char* validation = Setting("VESPER_VALIDATION");
  hello.validation = validation != nullptr && std::strcmp(validation, "1") == 0;
  hello.program = program_invocation_short_name;
  return hello;
}

bool Handshake(Channel* channel, std::chrono::milliseconds grace, Welcome* welcome, std::string* error) {
  Hello hello = MakeHello(*channel);
  if (channel->OffersResume()) hello.resumes_for = grace;
  if (!Greet(*channel, hello, welcome, error)) return false;
  if (welcome->names_wanted) {
    hello.commands.assign(kCommandNames, kCommandNames + kCommandCount);
    hello.handle_types.assign(kHandleTypeNames, kHandleTypeNames + kHandleTypeCount);
    if (!Greet(*channel, hello, welcome, error)) return false;
  }
  if (*error = UnmetTransport(*channel); !error->empty()) return false;
  if (hello.validation && !welcome->validation) {
    Log(LogLevel::kWarn, "VESPER_VALIDATION is set, but the server does not validate: start it with --validation");
  }
  return true;
}

// VESPER_GRACE: seconds of silence after which the server counts as lost.
Timing ChosenTiming() {
  Timing timing;
  const char* text = Setting("VESPER_GRACE");
  if (text == nullptr) return timing;
  char* end = nullptr;
  const double seconds = std::strtod(text, &end);
  if (end == text || *end != '\0' || !(seconds >= limits::kLeastGrace && seconds <= limits::kMostGrace)) {
    Log(LogLevel::kWarn, "VESPER_GRACE=%s is no number of seconds from %g to %g", text, limits::kLeastGrace,
        limits::kMostGrace);
    return timing;
  }
  timing.grace = std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
  timing.heartbeat_after = std::min(timing.heartbeat_after, timing.grace / 4);
  return timing;
}

// One server that is asked for a session, by whichever thread.
struct Attempt {
  Address address;
  std::shared_ptr<Session> session;
  std::string error;
  Clock::duration took{};

  void Begin() noexcept {
    const auto start = Clock::now();
    try {
      Welcome welcome;
      const Timing timing = ChosenTiming();
      std::unique_ptr<Channel> channel = Connect(address, static_cast<int>(limits::kConnectPatience.count()), &error);
      if (channel != nullptr && Handshake(channel.get(), timing.grace, &welcome, &error)) {
        session = std::shared_ptr<Session>(new Session(std::move(channel), welcome, timing), EndSession);
      }
    } catch (const std::exception& exception) {
      error = exception.what();
    }
    took = Clock::now() - start;
  }
};

// At the same time, if all are wanted; else one after the other until one answers.
void BeginSome(std::vector<Attempt>* attempts, bool all) {
  std::vector<std::thread> threads;
  for (size_t i = 0; i < attempts->size(); ++i) {
    Attempt& attempt = (*attempts)[i];
    if (all && i + 1 < attempts->size()) {
      try {
        threads.push_back(StartWithoutSignals([&] { return std::thread([&attempt] { attempt.Begin(); }); }));
        continue;
      } catch (const std::exception&) {  // no thread is to be had
      }
    }
    attempt.Begin();
    if (!all && attempt.session != nullptr) break;
  }
  for (std::thread& thread : threads) thread.join();
}

bool Enlist(Sessions* all, const std::shared_ptr<Session>& session, const Address& address)
    VESPER_REQUIRES(all->mutex) {
  if (!IsLoopback(address)) {
    const bool naked = address.kind == Address::Kind::kTcp;
    Log(naked ? LogLevel::kWarn : LogLevel::kInfo, "using the server at %s%s", address.ToString().c_str(),
        naked ? ", without TLS: whoever is between sees and changes what passes" : "");
  }
  if (!AddForFork(session.get())) return false;
  AskAboutInstances(*session);
  std::erase_if(all->live, [](const std::weak_ptr<Session>& each) { return each.expired(); });
  all->live.push_back(session);
  return true;
}

// Sessions with the servers that this program is to use, but for that of the spare: with every one that answers, or with the
// first. One that does not, beside others, is named, and costs its time once.
std::vector<ServerSession> Open(Sessions* all, bool every) VESPER_REQUIRES(all->mutex) {
  const auto start = Clock::now();
  std::string error;
  bool chosen = false;
  const std::vector<Address> addresses = ServersOfThisProgram(&chosen, &error);
  if (addresses.empty() && error.empty()) return {};  // whoever configured it wants no GPU of ours here
  std::vector<Attempt> attempts;
  for (const Address& address : addresses) {
    const std::string server = address.WithSecrets();
    const bool dead = std::find(all->dead.begin(), all->dead.end(), server) != all->dead.end();
    if (!dead && (all->spare == nullptr || all->spare_server != server)) attempts.emplace_back().address = address;
  }
  BeginSome(&attempts, every);
  std::vector<ServerSession> opened;
  for (const Attempt& attempt : attempts) {
    const std::string name = attempt.address.ToString();
    if (attempt.session != nullptr) {
      if (Enlist(all, attempt.session, attempt.address)) {
        opened.push_back({attempt.session, name, attempt.address.WithSecrets()});
      }
    } else if (!attempt.error.empty()) {
      error = name + " (" + attempt.error + ")";
      if (addresses.size() == 1) continue;
      if (std::find(all->named.begin(), all->named.end(), name) == all->named.end()) {
        Log(LogLevel::kError, "no server at %s: its GPUs are left out; `vesper doctor` says what to do", error.c_str());
        all->named.push_back(name);
      }
      if (attempt.took > limits::kSlowFailure) all->dead.push_back(attempt.address.WithSecrets());
    }
  }
  if (!opened.empty() || all->spare != nullptr) return opened;
  if (Clock::now() - start > limits::kSlowFailure) all->failed_slowly = Clock::now();
  if (!std::exchange(all->complained, true)) {
    // The driver may be installed for everybody and used by few: nobody else hears of it.
    Log(chosen ? LogLevel::kError : LogLevel::kDebug,
        "no server at %s: start vesper-server, or name its address in VESPER_SERVER or by `vesper use`", error.c_str());
  }
  return {};
}

std::vector<ServerSession> OpenUnlessHopeless(Sessions* all, bool every) VESPER_REQUIRES(all->mutex) {
  if (Setting("VESPER_WORKER") != nullptr) return {};
  if (all->failed_slowly != Clock::time_point{} && Clock::now() - all->failed_slowly < limits::kRetryAfter) return {};
  return Open(all, every);
}

}  // namespace

std::shared_ptr<Session> AnySession() noexcept {
  Sessions& all = All();
  const MutexLock lock(all.mutex);
  try {
    for (const std::weak_ptr<Session>& each : all.live) {
      std::shared_ptr<Session> session = each.lock();
      if (session != nullptr && !session->lost()) return session;
    }
    all.spare = nullptr;
    const std::vector<ServerSession> opened = OpenUnlessHopeless(&all, false);
    if (opened.empty()) return nullptr;
    all.spare = opened.front().session;
    all.spare_server = opened.front().server;
    return all.spare;
  } catch (const std::exception& error) {
    Log(LogLevel::kError, "cannot begin a session: %s; `vesper doctor` says what to do", error.what());
    return nullptr;
  }
}

std::vector<ServerSession> TakeSessions() noexcept {
  Sessions& all = All();
  const MutexLock lock(all.mutex);
  try {
    if (all.spare != nullptr && all.spare->lost()) all.spare = nullptr;
    std::vector<ServerSession> sessions = OpenUnlessHopeless(&all, true);
    if (all.spare != nullptr) sessions.push_back({all.spare, {}, all.spare_server});
    // In the order in which they were named.
    bool chosen = false;
    std::string error;
    const std::vector<Address> addresses = ServersOfThisProgram(&chosen, &error);
    const auto place = [&addresses](const ServerSession& of) {
      size_t i = 0;
      while (i < addresses.size() && addresses[i].WithSecrets() != of.server) ++i;
      return i;
    };
    if (sessions.size() > 1) {
      std::stable_sort(sessions.begin(), sessions.end(),
                       [&](const auto& a, const auto& b) { return place(a) < place(b); });
    }
    all.spare = nullptr;
    return sessions;
  } catch (const std::exception& error) {
    Log(LogLevel::kError, "cannot begin a session: %s; `vesper doctor` says what to do", error.what());
    return {};
  }
}

}  // namespace vesper::client
