#include "runtime/resume/mender.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <exception>
#include <system_error>
#include <utility>

#include "runtime/handshake.h"

namespace vesper::resume {
namespace {

using std::chrono::milliseconds;
using Clock = Resumption::Clock;

// How long one attempt may take: what was sent into a broken line may never be answered. Between attempts, first and last.
constexpr milliseconds kAttempt{3000};
constexpr milliseconds kFirstPause{10};
constexpr milliseconds kLastPause{500};
constexpr milliseconds kLook{50};  // at whether to stop
// A server at whose address nobody listens for so long has ended, and its sessions with it.
constexpr milliseconds kNobodyListens{400};
constexpr size_t kMostAnswer = 4096;

}  // namespace

void Mender::Start(Resumption* resumption, Install install, std::function<void()> ended, milliseconds most) {
  const MutexLock lock(mutex_);
  if (thread_.joinable()) thread_.join();  // it has mended the connection that is broken again
  // The thread handles no signal of the process that we are a guest in.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    const milliseconds patience = std::min(patience_, most);
    thread_ = std::thread([this, resumption, install = std::move(install), ended = std::move(ended), patience] {
      std::string why;
      try {
        why = Run(resumption, install, patience);
      } catch (const std::exception& exception) {  // std::bad_alloc
        why = exception.what();
      }
      if (why.empty()) return;
      resumption->End(why);
      ended();
    });
  } catch (const std::exception& exception) {
    resumption->End(resumption->why() + ", and there is no thread to mend it: " + exception.what());
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// The analysis knows no destructors; nobody else uses it any more.
Mender::~Mender() {
  Cancel();
  if (thread_.joinable()) thread_.join();
}

bool Mender::Pause(milliseconds time) const {
  for (const transport::Deadline end(time, &cancelled_); !end.passed();) ::poll(nullptr, 0, end.PollMilliseconds());
  return !cancelled_.load();
}

std::string Mender::Run(Resumption* resumption, const Install& install, milliseconds patience) {
  milliseconds pause = kFirstPause;
  Clock::time_point nobody_since = Clock::time_point::max();
  const std::string broken = resumption->why();
  const Clock::time_point end = Clock::now() + patience;
  std::string why;
  do {
    const Outcome outcome = Try(resumption, install, end, &why);
    if (outcome == Outcome::kMended) return {};
    if (outcome == Outcome::kRefused) return broken + "; " + why;
    const auto now = Clock::now();
    nobody_since = outcome == Outcome::kNobody ? std::min(nobody_since, now) : Clock::time_point::max();
    if (nobody_since != Clock::time_point::max() && now - nobody_since >= kNobodyListens) return broken + "; " + why;
    if (now >= end) {
      return broken + ", and it could not be mended within " + std::to_string(patience.count()) + " ms: " + why;
    }
    if (!Pause(std::min(pause, std::chrono::ceil<milliseconds>(end - now)))) return {};
    pause = std::min(2 * pause, kLastPause);
  } while (resumption->broken());
  return {};
}

Mender::Outcome Mender::Try(Resumption* resumption, const Install& install, Clock::time_point end, std::string* why) {
  const auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now());
  const transport::Deadline deadline(std::clamp(left, kLook, kAttempt), &cancelled_);
  const ResumeTerms& terms = resumption->terms();
  Carrier carrier;
  bool nobody = false, refused = false;
  if (!dial_(terms.session, deadline, &carrier, &nobody, why)) return nobody ? Outcome::kNobody : Outcome::kAgain;
  Hello hello;
  hello.resume = {terms.session, terms.secret, resumption->received()};
  std::vector<uint8_t> answer;
  *why = "the server did not answer";
  if (!carrier.Send(EncodeHello(hello)) || !carrier.Receive(kMostAnswer, deadline, &answer)) return Outcome::kAgain;
  Welcome welcome;
  if (!HearResumed(std::move(answer), &welcome, &refused, why)) return refused ? Outcome::kRefused : Outcome::kAgain;
  if (install(std::move(carrier), welcome.received)) return Outcome::kMended;
  *why = "the server has not what it had before";
  return Outcome::kRefused;
}

}  // namespace vesper::resume
