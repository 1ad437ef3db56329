#include "server/base/last_words.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <exception>
#include <string>
#include <vector>

#include "runtime/handshake.h"
#include "server/base/limits.h"
#include "server/base/log.h"

namespace vesper::server {
namespace {

// Sanitizers say more about a signal than we would.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

constexpr std::array kCrashes = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

std::atomic<int> g_socket{-1};
std::atomic<LastKind> g_kind{LastKind::kRefused};
// Made ahead: a crash or the end of memory is no time to allocate. Never freed.
struct Prepared {
  std::vector<uint8_t> refused, goodbye;
};
const Prepared* g_prepared = nullptr;

MessageKind KindOf(LastKind kind) { return kind == LastKind::kRefused ? MessageKind::kRefused : MessageKind::kGoodbye; }

// Safe in a signal handler. What the client sent is taken, since a TCP connection closed over it would be reset, and our
// words lost.
void Say(const std::vector<uint8_t>& words) {
  const int socket = g_socket.exchange(-1);
  if (socket < 0) return;
  std::array<char, limits::kLastReadBytes> bytes;
  for (int i = 0; i < limits::kMaxLastReads && recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT) > 0; ++i) {
  }
  send(socket, words.data(), words.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

const std::vector<uint8_t>& PreparedWords() {
  return g_kind.load() == LastKind::kRefused ? g_prepared->refused : g_prepared->goodbye;
}

void SayWhy(const char* why) noexcept {
  Log(LogLevel::kError, "the worker gives up: {}", why);
  try {
    const std::vector<uint8_t> words = EncodeNotice(KindOf(g_kind.load()), std::string("the worker gives up: ") + why);
    if (!words.empty()) return Say(words);
  } catch (const std::exception&) {
  }
  Say(PreparedWords());
}

[[noreturn]] void GiveUp() {
  try {
    if (const std::exception_ptr exception = std::current_exception()) std::rethrow_exception(exception);
    SayWhy("a check of its own");
  } catch (const std::exception& exception) {
    SayWhy(exception.what());
  } catch (...) {
    SayWhy("an unknown exception");
  }
  _exit(1);
}

void OnCrash(int signal) {
  Say(PreparedWords());
  raise(signal);  // the handler is gone by now: the end is the signal's own
}

}  // namespace

void LeaveLastWords() {
  static const Prepared* const prepared = new Prepared{EncodeNotice(MessageKind::kRefused, "the worker crashed"),
                                                       EncodeNotice(MessageKind::kGoodbye, "the worker crashed")};
  g_prepared = prepared;
  std::set_terminate(GiveUp);
  if (kSanitized) return;
  struct sigaction action {};
  action.sa_handler = OnCrash;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER);
  for (const int signal : kCrashes) sigaction(signal, &action, nullptr);
}

void SetLastListener(int socket, LastKind kind) {
  g_kind.store(kind);
  g_socket.store(socket);
}

}  // namespace vesper::server
