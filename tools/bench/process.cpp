#include "tools/bench/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "tools/installation.h"

namespace vesper::tools::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kGraceMilliseconds = 10'000, kListenMilliseconds = 60'000;
constexpr int kNoProgram = 127;  // as a shell says it

volatile sig_atomic_t g_is_interrupted = 0;

std::vector<std::string> Merged(const Environment& changes) {
  std::vector<std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!changes.contains(text.substr(0, text.find('=')))) merged.push_back(text);
  }
  for (const auto& [name, value] : changes) {
    if (value) merged.push_back(name + "=" + *value);
  }
  return merged;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& string : strings) pointers.push_back(string.data());
  pointers.push_back(nullptr);
  return pointers;
}

void MakePipe(int ends[2]) {
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error(std::string("pipe: ") + std::strerror(errno));
}

int Left(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return left < 0 ? 0 : static_cast<int>(left);
}

}  // namespace

void HeedInterrupts() {
  struct sigaction action = {};
  action.sa_handler = [](int) { g_is_interrupted = 1; };
  for (const int each : {SIGINT, SIGTERM}) sigaction(each, &action, nullptr);
}

PrivateFolder::PrivateFolder() {
  path_ = (std::filesystem::temp_directory_path() / "vesper-bench-XXXXXX").string();
  if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("cannot make a folder like " + path_);
}

PrivateFolder::~PrivateFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Process::Process(std::vector<std::string> arguments, const Environment& environment, const std::string& log) {
  signal(SIGPIPE, SIG_IGN);  // who does not read any more is noticed by Say()
  std::vector<std::string> merged = Merged(environment);
  const std::vector<char*> argv = Pointers(arguments), envp = Pointers(merged);
  int in[2], out[2];
  MakePipe(in);
  MakePipe(out);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    // Only async-signal-safe calls: there may be other threads.
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(kNoProgram);
    signal(SIGPIPE, SIG_DFL);
    const int err = log.empty() ? STDERR_FILENO : open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execve(argv[0], argv.data(), envp.data());
    _exit(kNoProgram);
  }
  close(in[0]);
  close(out[1]);
  to_ = in[1];
  from_ = out[0];
  if (pid_ < 0) throw std::runtime_error("cannot fork");
}

Process::~Process() {
  close(to_);
  if (!WaitFor(kGraceMilliseconds)) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(from_);
}

void Process::Terminate() const {
  if (pid_ > 0) kill(pid_, SIGTERM);
}

bool Process::WaitFor(int timeout_ms) const {
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  while (waitpid(pid_, nullptr, WNOHANG) == 0) {
    if (Clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

bool Process::Say(const std::string& line) const {
  const std::string text = line + '\n';
  return write(to_, text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::optional<std::string> Process::Hear(int timeout_ms) {
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    if (const size_t end = heard_.find('\n'); end != std::string::npos) {
      std::string line = heard_.substr(0, end);
      heard_.erase(0, end + 1);
      return line;
    }
    if (g_is_interrupted != 0) throw Interrupted();
    pollfd entry = {from_, POLLIN, 0};
    const int ready = poll(&entry, 1, Left(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return std::nullopt;
    char bytes[4096];
    const ssize_t count = read(from_, bytes, sizeof(bytes));
    if (count <= 0) return std::nullopt;
    heard_.append(bytes, static_cast<size_t>(count));
  }
}

OwnServer::OwnServer(const std::string& listen, const std::string& driver, const PrivateFolder& folder) {
  const std::string log = folder.path() + "/server.log", program = BinaryFolder() + "/vesper-server";
  if (access(program.c_str(), X_OK) != 0) {
    throw std::runtime_error("there is no " + program + " to start; say which server by --server");
  }
  Environment environment;
  if (!driver.empty()) environment = {{"VK_ICD_FILENAMES", driver}, {"VK_DRIVER_FILES", driver}};
  process_ = std::make_unique<Process>(std::vector<std::string>{program, "--listen", listen, "--admin", "none"},
                                       environment, log);
  constexpr std::string_view kListening = "listening on ";
  while (const auto line = process_->Hear(kListenMilliseconds)) {
    if (!line->starts_with(kListening)) continue;
    address_ = line->substr(kListening.size());
    return;
  }
  std::ifstream file(log);
  std::ostringstream said;
  said << file.rdbuf();
  throw std::runtime_error("vesper-server does not listen on " + listen + "\n" + said.str());
}

// Each process says who its parent is; what those have used that are gone is counted by who waited for them.
double OwnServer::CpuSeconds() const {
  struct Used {
    pid_t parent;
    double ticks;
  };
  std::map<pid_t, Used> all;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "stat");
    std::string text;
    if (!std::getline(file, text)) continue;
    std::istringstream rest(text.substr(text.rfind(')') + 1));
    std::string word;
    Used used{};
    for (int field = 3; field <= 17 && rest >> word; ++field) {
      if (field == 4) used.parent = static_cast<pid_t>(std::strtol(word.c_str(), nullptr, 10));
      if (field >= 14) used.ticks += std::strtod(word.c_str(), nullptr);
    }
    all[static_cast<pid_t>(std::strtol(text.c_str(), nullptr, 10))] = used;
  }
  double ticks = 0;
  for (const auto& [pid, used] : all) {
    pid_t ancestor = pid;
    // The list was not read at once, so that it may lead in a circle.
    for (size_t steps = 0; ancestor != process_->pid() && all.contains(ancestor) && steps < all.size(); ++steps) {
      ancestor = all[ancestor].parent;
    }
    if (ancestor == process_->pid()) ticks += used.ticks;
  }
  return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

OwnServer::~OwnServer() { process_->Terminate(); }

}  // namespace vesper::tools::bench
