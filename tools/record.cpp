// `vesper record`, `vesper replay` and `vesper trace`.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <utility>

#include "runtime/descriptor.h"
#include "tools/commands.h"
#include "tools/recording/relay.h"
#include "tools/recording/replay.h"
#include "tools/recording/trace.h"
#include "tools/run.h"

namespace vesper::tools {
namespace {

constexpr int kLastWords = 5000;  // milliseconds that sessions get to end when their program has

volatile sig_atomic_t g_child = 0;

// For who ends us means the program; the recording ends with it.
void PassOn(int number) {
  if (g_child > 0) kill(g_child, number);
}

int Complain(const char* who, const std::string& why) {
  std::fprintf(stderr, "vesper %s: %s\n", who, why.c_str());
  return kCannotRun;
}

// A folder of our own for the socket; removed with what is in it.
class Folder {
 public:
  Folder() {
    const char* runtime = std::getenv("XDG_RUNTIME_DIR");
    path_ = std::string(runtime != nullptr && *runtime != '\0' ? runtime : "/tmp") + "/vesper-record-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) path_.clear();
  }
  ~Folder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Once the other end of `go` has said so: it is forked before there are threads.
[[noreturn]] void BecomeRecorded(const std::string& socket, const std::vector<std::string>& program, Descriptor go) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  char byte = 0;
  if (read(go.get(), &byte, 1) != 1) _exit(kCannotRun);
  std::string error;
  if (!OfferOnly({{Address::Kind::kUnix, socket, "", 0}}, &error)) _exit(Complain("record", error));
  // All bytes have to be messages.
  setenv("VESPER_TRANSPORT", "socket", 1);
  unsetenv("VESPER_FRAMES");  // pictures are compared bit for bit
  const char* memory = std::getenv("VESPER_MEMORY");
  if (memory != nullptr && std::string_view(memory) == "shared") unsetenv("VESPER_MEMORY");
  _exit(Become("vesper record", program));
}

int StatusOf(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int Report(const std::vector<recording::Relay::Recorded>& sessions) {
  bool any = false;
  for (const auto& session : sessions) {
    if (!session.error.empty()) std::fprintf(stderr, "vesper record: %s\n", session.error.c_str());
    if (session.file.empty()) continue;
    any = true;
    std::fprintf(stderr, "vesper record: %s: %s, %llu messages, %.1f MB in %.1f MB\n", session.file.c_str(),
                 session.program.c_str(), static_cast<unsigned long long>(session.messages),
                 static_cast<double>(session.bytes) / 1e6, static_cast<double>(session.stored_bytes) / 1e6);
  }
  if (!any)
    std::fprintf(stderr,
                 "vesper record: the program did not use the GPU; what `vesper run -- PROGRAM` says with "
                 "VK_LOADER_DEBUG=error,driver shows why\n");
  return any ? 0 : 1;
}

// One time through; prints what became of it.
int ReplayOnce(const recording::ReplayOptions& options) {
  const recording::ReplayResult result = recording::Replay(options);
  if (!result.flaw.empty()) std::printf("the recording %s; what comes before was replayed\n", result.flaw.c_str());
  std::printf("%llu messages, %llu commands, %.1f MB, %llu frames: %.3f s, recorded in %.3f s",
              static_cast<unsigned long long>(result.messages), static_cast<unsigned long long>(result.commands),
              static_cast<double>(result.bytes) / 1e6, static_cast<unsigned long long>(result.frames), result.seconds,
              result.recorded_seconds);
  if (result.frames != 0) std::printf(", %.1f frames/s", static_cast<double>(result.frames) / result.seconds);
  std::printf("\n");
  if (options.compare) {
    std::printf(
        "%llu states of memory compared, %llu differ; %llu pictures compared, %llu differ\n",
        static_cast<unsigned long long>(result.states), static_cast<unsigned long long>(result.different_states),
        static_cast<unsigned long long>(result.pictures), static_cast<unsigned long long>(result.different_pictures));
    for (const auto& [command, count] : result.other_replies) {
      std::printf("other answers to %s: %llu\n", command.c_str(), static_cast<unsigned long long>(count));
    }
  }
  if (result.moved_addresses != 0)
    std::printf("%llu addresses moved\n", static_cast<unsigned long long>(result.moved_addresses));
  for (const std::string& difference : result.differences) std::printf("%s\n", difference.c_str());
  std::fflush(stdout);
  if (!result.error.empty()) return Complain("replay", result.error);
  return options.compare && !result.differences.empty() ? 1 : 0;
}

}  // namespace

int Record(const RecordOptions& options, const std::vector<std::string>& program) {
  std::string error;
  const auto server = ChosenServer(options.server, program.front(), &error);
  if (!server) return Complain("record", error);
  const Folder folder;
  if (folder.path().empty()) return Complain("record", std::string("no folder for a socket: ") + std::strerror(errno));
  const std::string socket = folder.path() + "/server.sock";
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Complain("record", std::string("no pipe: ") + std::strerror(errno));
  Descriptor waits(ends[0]), go(ends[1]);
  const pid_t child = fork();
  if (child == 0) {
    go = Descriptor();
    BecomeRecorded(socket, program, std::move(waits));
  }
  if (child < 0) return Complain("record", std::string("cannot fork: ") + std::strerror(errno));
  const auto relay = recording::Relay::Start({*server, options.file, options.anonymize}, socket, &error);
  struct sigaction pass = {};
  pass.sa_handler = PassOn;
  pass.sa_flags = SA_RESTART;
  sigaction(SIGTERM, &pass, nullptr);
  sigaction(SIGINT, &pass, nullptr);
  g_child = child;
  if (relay == nullptr || write(go.get(), "", 1) != 1) go = Descriptor();  // it ends
  const int status = StatusOf(child);
  g_child = 0;
  if (relay == nullptr) return Complain("record", error);
  const int recorded = Report(relay->Finish(kLastWords));
  return status != 0 ? status : recorded;
}

int Replay(const ReplayOptions& options) {
  std::string error;
  const auto server = ChosenServer(options.server, "vesper", &error);
  if (!server) return Complain("replay", error);
  const recording::ReplayOptions once{*server, options.file, options.frames, options.compare};
  for (uint64_t i = 1;; ++i) {
    const int status = ReplayOnce(once);
    if (status != 0 || i == options.times) return status;
  }
}

int Trace(const TraceOptions& options) {
  std::string error;
  if (options.json.empty()) {
    return recording::PrintCalls(options.file, options.match, stdout, &error) ? 0 : Complain("trace", error);
  }
  std::FILE* const out = std::fopen(options.json.c_str(), "we");
  if (out == nullptr) return Complain("trace", "cannot write " + options.json + ": " + std::strerror(errno));
  const bool whole = recording::WriteTraceEvents(options.file, out, &error);
  if (std::fclose(out) != 0) return Complain("trace", "cannot write " + options.json + ": " + std::strerror(errno));
  return whole ? 0 : Complain("trace", error);
}

}  // namespace vesper::tools
