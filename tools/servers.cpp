// Choosing among servers: what ~/.config/vesper/config.toml says (runtime/configuration.h), and what answers.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <regex>

#include "generated/vk/commands.h"
#include "runtime/address.h"
#include "runtime/configuration.h"
#include "runtime/descriptor.h"
#include "runtime/handshake.h"
#include "tools/commands.h"
#include "tools/devices.h"
#include "tools/discovery.h"
#include "tools/probe.h"

namespace vesper::tools {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kPatience{10};
constexpr int kConnectMilliseconds = 3000;

// "12.3 ms  NVIDIA H100", or why it does not answer; runs in a process of its own.
std::string Ask(const Address& address) {
  std::string error;
  const auto start = Clock::now();
  const std::unique_ptr<Channel> channel = Connect(address, kConnectMilliseconds, &error);
  Hello hello;
  hello.fingerprint = kRegistryFingerprint;
  hello.page_size = static_cast<uint32_t>(sysconf(_SC_PAGESIZE));
  hello.pid = static_cast<uint32_t>(getpid());
  hello.program = "vesper servers";
  Welcome welcome;
  if (channel == nullptr || !Greet(*channel, hello, &welcome, &error)) return "-         " + error;
  const double milliseconds = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  char latency[32];
  std::snprintf(latency, sizeof(latency), "%-9.1f ", milliseconds);
  std::string line = latency;
  const std::vector<SeenDevice> devices = DevicesOf(address, &error);
  if (devices.empty()) return line + (error.empty() ? "no GPU" : error);
  for (size_t i = 0; i < devices.size(); ++i) line += (i == 0 ? "" : ", ") + devices[i].name;
  return line;
}

// The same of one that was found and that nobody has credentials for.
std::string AskStranger(const Address& address) {
  std::string error;
  return TakesSessions(address, &error)
             ? "          found on this network; `vesper use` takes its line of `vesper-server init`"
             : "-         " + error;
}

struct Question {
  std::string name;
  Address address;
  bool stranger = false;
  pid_t child = -1;
  Descriptor answer;
  std::string text;
};

void Start(Question* question) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return;
  question->answer = Descriptor(ends[0]);
  const Descriptor out(ends[1]);
  question->child = fork();
  if (question->child != 0) return;
  const std::string line = question->stranger ? AskStranger(question->address) : Ask(question->address);
  const ssize_t written = write(out.get(), line.data(), line.size());
  _exit(written == static_cast<ssize_t>(line.size()) ? 0 : 1);
}

void Wait(Question* question, Clock::time_point until) {
  char bytes[512];
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd one = {question->answer.get(), POLLIN, 0};
    if (left <= 0 || poll(&one, 1, static_cast<int>(left)) <= 0) break;
    const ssize_t count = read(question->answer.get(), bytes, sizeof(bytes));
    if (count <= 0) break;
    question->text.append(bytes, static_cast<size_t>(count));
  }
  if (question->child > 0) {
    kill(question->child, SIGKILL);
    waitpid(question->child, nullptr, 0);
  }
  if (question->text.empty()) question->text = "-         no answer in time";
}

int Refuse(const std::string& why) {
  std::fprintf(stderr, "vesper use: %s\n", why.c_str());
  return 1;
}

std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

// `text` with server = `server` ahead of the first table; comments and all else stay.
std::string WithServer(const std::string& text, const std::string& server) {
  const std::string line = "server = " + Quoted(server) + "\n";
  static const std::regex kTable("(^|\n)[ \t]*\\["), kServer("(^|\n)([ \t]*server[ \t]*=[^\n]*\n?)");
  std::smatch table;
  const bool any = std::regex_search(text, table, kTable);
  const size_t top = any ? static_cast<size_t>(table.position(0)) + static_cast<size_t>(table.length(1)) : text.size();
  const std::string head = text.substr(0, top), rest = text.substr(top);
  std::smatch old;
  if (!std::regex_search(head, old, kServer)) return line + text;
  return old.prefix().str() + old.str(1) + line + old.suffix().str() + rest;
}

// The file is replaced at once, and is its owner's alone: it may hold tokens.
int Replace(const std::string& path, const std::string& text) {
  std::error_code failed;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), failed);
  const std::string next = path + ".new";
  const Descriptor file(open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  const bool written = file.valid() && fchmod(file.get(), 0600) == 0 &&
                       write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                       rename(next.c_str(), path.c_str()) == 0;
  return written ? 0 : Refuse("cannot write " + path + ": " + std::strerror(errno));
}

}  // namespace

int ListServers() {
  std::vector<std::string> wrong;
  const Configuration configuration = Configuration::Read(&wrong);
  for (const std::string& why : wrong) std::fprintf(stderr, "vesper servers: %s\n", why.c_str());
  const std::string chosen = configuration.For("");
  std::vector<Question> questions;
  const auto add = [&questions](const std::string& name, const Address& address, bool stranger = false) {
    Question& question = questions.emplace_back();
    question.name = name;
    question.address = address;
    question.stranger = stranger;
  };
  for (const auto& server : configuration.servers())
    add((server.name == chosen ? "* " : "  ") + server.name, server.address);
  std::string error;
  if (const auto address = configuration.Find(chosen, &error); address && chosen.find(':') != chosen.npos) {
    add("* (chosen)", *address);
  }
  add(chosen.empty() ? "* (this machine)" : "  (this machine)", DefaultUnixAddress());
  for (const Discovered& found : DiscoverServers()) add("  " + found.name, found.address, true);
  std::fflush(stdout);
  for (Question& question : questions) Start(&question);
  const auto until = Clock::now() + kPatience;
  std::printf("  %-18s %-40s %-9s %s\n", "NAME", "ADDRESS", "MS", "GPU");
  bool any = false;
  for (Question& question : questions) {
    Wait(&question, until);
    any |= question.text.front() != '-' && !question.stranger;
    std::printf("%-20s %-40s %s\n", question.name.c_str(), question.address.ToString().c_str(), question.text.c_str());
  }
  if (!any) {
    std::fprintf(
        stderr, "vesper servers: none answers: start vesper-server, or name one with `vesper use ADDRESS --as NAME`\n");
  }
  return any ? 0 : 1;
}

int UseServer(const std::string& server, const std::string& name) {
  const std::string path = Configuration::UserFile();
  if (path.empty()) return Refuse("HOME is not set");
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!text.empty() && text.back() != '\n') text += '\n';
  text = WithServer(text, name.empty() ? server : name);
  if (!name.empty()) text += "\n[servers." + Quoted(name) + "]\naddress = " + Quoted(server) + "\n";
  std::vector<std::string> wrong;
  const Configuration next = Configuration::Of({{path, text}}, &wrong);
  if (!wrong.empty()) return Refuse(wrong.front());
  // The system's file may name it.
  std::string error;
  const Configuration all = Configuration::Read(&wrong);
  const bool found = server == "none" || next.Find(next.For(""), &error) || all.Find(next.For(""), &error);
  if (!found) return Refuse(error);
  return Replace(path, text);
}

}  // namespace vesper::tools
