#include "tests/support/remote_server.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "runtime/address.h"
#include "runtime/channel.h"

extern char** environ;

namespace vesper::test {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kPollInterval = std::chrono::milliseconds(5);
constexpr char kLavapipe[] = "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json";

std::string FromEnvironment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// This process's environment with `changes` in place.
std::vector<std::string> MergedEnvironment(const Environment& changes) {
  std::vector<std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    bool changed = false;
    for (const auto& [name, value] : changes) changed |= text.starts_with(name + "=");
    if (!changed) merged.push_back(text);
  }
  for (const auto& [name, value] : changes) merged.push_back(name + "=" + value);
  return merged;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& string : strings) pointers.push_back(string.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

std::string ServerBinary() { return FromEnvironment("VESPER_SERVER_BINARY", VESPER_SERVER_BINARY); }
std::string IcdManifest() { return FromEnvironment("VESPER_ICD_MANIFEST", VESPER_ICD_MANIFEST); }

FirstToken InitCredentials(const std::string& folder, std::string* said) {
  const std::string command = ServerBinary() + " init --host localhost --credentials " + folder + " 2>&1";
  FILE* output = popen(command.c_str(), "re");
  char line[1024];
  while (output != nullptr && std::fgets(line, sizeof(line), output) != nullptr) *said += line;
  if (output != nullptr) pclose(output);
  const size_t begin = said->find("tls://", said->find("export VESPER_SERVER='"));
  const size_t host = said->find('@', begin), mark = said->find('#', begin), end = said->find('\'', begin);
  if (end == std::string::npos || mark > end || host > mark) return {};
  return {said->substr(begin + 6, host - begin - 6), said->substr(mark + 1, end - mark - 1)};
}

bool HasVsockLoopback() {
  std::string error;
  const auto listener = Listener::Open(*ParseAddress("vsock://any:0", &error), &error);
  if (listener == nullptr) return false;
  Address local = listener->address();
  local.cid = Address::kLocalCid;
  return Connect(local, 500, &error) != nullptr;
}

std::unique_ptr<RemoteServer> RemoteServer::Start(const Options& options, std::string* error) {
  std::string pattern = (std::filesystem::temp_directory_path() / "vesper-test-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) {
    *error = "cannot make a folder like " + pattern;
    return nullptr;
  }
  std::unique_ptr<RemoteServer> server(new RemoteServer(pattern));
  server->tls_ = options.tls;
  server->vsock_ = options.vsock;
  if (options.tls && !server->MakeCredentials(error)) return nullptr;
  server->Spawn(options);
  if (!server->WaitUntilListening(options.start_timeout_ms, error)) return nullptr;
  return server;
}

RemoteServer::~RemoteServer() {
  Stop();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void RemoteServer::Spawn(const Options& options) {
  std::vector<std::string> arguments = {ServerBinary(), "--listen", "unix:" + folder_ + "/server.sock", "--listen",
                                        "tcp://127.0.0.1:0"};
  const auto& more = options.arguments;
  if (std::find(more.begin(), more.end(), "--admin") == more.end()) {
    arguments.insert(arguments.end(), {"--admin", "none"});
  }
  if (std::find(more.begin(), more.end(), "--pipelines") == more.end()) {
    arguments.insert(arguments.end(), {"--pipelines", folder_ + "/pipelines"});
  }
  if (tls_) arguments.insert(arguments.end(), {"--listen", "tls://127.0.0.1:0", "--credentials", folder_ + "/trust"});
  if (vsock_) arguments.insert(arguments.end(), {"--listen", "vsock://any:0", "--allow-cid", "local"});
  arguments.insert(arguments.end(), more.begin(), more.end());
  Environment changes = options.environment;
  const std::string driver = options.driver.empty() ? FromEnvironment("VESPER_TEST_DRIVER", kLavapipe) : options.driver;
  changes.emplace_back("VK_ICD_FILENAMES", driver);
  changes.emplace_back("VK_DRIVER_FILES", driver);
  std::vector<std::string> merged = MergedEnvironment(changes);
  const std::vector<char*> argv = Pointers(arguments);
  const std::vector<char*> envp = Pointers(merged);
  const std::string out = folder_ + "/stdout";
  const std::string err = folder_ + "/stderr";

  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ != 0) return;
  // In the child only async-signal-safe calls.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(127);
  const int out_fd = open(out.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  const int err_fd = open(err.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  dup2(out_fd, STDOUT_FILENO);
  dup2(err_fd, STDERR_FILENO);
  execve(argv[0], argv.data(), envp.data());
  _exit(127);
}

bool RemoteServer::MakeCredentials(std::string* error) {
  const FirstToken first = InitCredentials(folder_ + "/trust", error);
  tls_address_ = "tls://" + first.token + "@HOST#" + first.fingerprint;  // where it listens is known later
  return !first.token.empty();
}

bool RemoteServer::WaitUntilListening(int timeout_ms, std::string* error) {
  if (pid_ < 0) {
    *error = "cannot fork";
    return false;
  }
  constexpr std::string_view kListening = "listening on ", kVsock = "vsock://any";
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  while (Clock::now() < deadline) {
    const bool ended = HasEnded();
    std::istringstream lines(ReadFile(folder_ + "/stdout"));
    for (std::string line; std::getline(lines, line) && !lines.eof();) {
      if (!line.starts_with(kListening)) continue;
      const std::string address = line.substr(kListening.size());
      if (address.starts_with("tls:")) {
        const size_t at = tls_address_.find("HOST");
        if (at != std::string::npos) tls_address_.replace(at, 4, address.substr(std::string_view("tls://").size()));
      } else if (address.starts_with(kVsock)) {
        vsock_address_ = "vsock://local" + address.substr(kVsock.size());
      } else {
        (address.starts_with("unix:") ? unix_address_ : tcp_address_) = address;
      }
    }
    const bool secure = !tls_ || tls_address_.find("HOST") == std::string::npos;
    const bool all = secure && (!vsock_ || !vsock_address_.empty());
    if (!unix_address_.empty() && !tcp_address_.empty() && all) return true;
    if (ended) {
      *error = ServerBinary() + " ended before it listened:\n" + Output();
      return false;
    }
    std::this_thread::sleep_for(kPollInterval);
  }
  *error = ServerBinary() + " does not listen after " + std::to_string(timeout_ms) + " ms:\n" + Output();
  return false;
}

Environment RemoteServer::ClientEnvironment(const std::string& address) const {
  const std::string manifest = IcdManifest();
  return {{"VESPER_SERVER", address}, {"VK_ICD_FILENAMES", manifest}, {"VK_DRIVER_FILES", manifest}};
}

bool RemoteServer::HasEnded() {
  if (pid_ < 0) return true;
  if (waitpid(pid_, &status_, WNOHANG) != pid_) return false;
  pid_ = -1;
  return true;
}

int RemoteServer::Stop(int timeout_ms) {
  if (!HasEnded()) {
    kill(pid_, SIGTERM);
    const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
    while (!HasEnded() && Clock::now() < deadline) std::this_thread::sleep_for(kPollInterval);
    if (!HasEnded()) {
      kill(pid_, SIGKILL);
      waitpid(pid_, &status_, 0);
      pid_ = -1;
      return -1;
    }
  }
  return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
}

std::string RemoteServer::Output() const { return ReadFile(folder_ + "/stdout") + ReadFile(folder_ + "/stderr"); }

}  // namespace vesper::test
