#include "tools/discovery.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>

#include "runtime/descriptor.h"

namespace vesper::tools {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kPatience{3};
constexpr size_t kMaxText = 64 << 10;
constexpr size_t kMaxName = 40;

// avahi-browse writes what is no letter or digit as \DDD.
std::string Readable(std::string_view text) {
  std::string readable;
  for (size_t i = 0; i < text.size() && readable.size() < kMaxName; ++i) {
    int value = static_cast<unsigned char>(text[i]);
    if (text[i] == '\\' && i + 3 < text.size()) {
      const auto [end, error] = std::from_chars(text.data() + i + 1, text.data() + i + 4, value);
      if (error == std::errc() && end == text.data() + i + 4) i += 3;
    }
    readable += value < 0x20 || value >= 0x7f ? '?' : static_cast<char>(value);
  }
  return readable;
}

std::vector<std::string_view> Split(std::string_view text, char by) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(by, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

}  // namespace

// =;eth0;IPv4;NAME;_vesper._tcp;local;HOST.local;ADDRESS;PORT;"TXT"
std::vector<Discovered> ParseDiscovered(std::string_view text) {
  std::vector<Discovered> found;
  for (const std::string_view line : Split(text, '\n')) {
    const auto fields = Split(line, ';');
    if (fields.size() < 9 || fields[0] != "=" || fields[4] != "_vesper._tcp") continue;
    std::string error;
    const bool v6 = fields[7].find(':') != std::string_view::npos;
    const std::string host = v6 ? "[" + std::string(fields[7]) + "]" : std::string(fields[7]);
    const auto address = ParseAddress("tls://" + host + ":" + std::string(fields[8]), &error);
    if (!address) continue;
    const std::string name = Readable(fields[3]);
    const auto same = [&](const Discovered& each) { return each.name == name && each.address.port == address->port; };
    if (std::none_of(found.begin(), found.end(), same)) found.push_back({name, *address});
  }
  return found;
}

std::vector<Discovered> DiscoverServers() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {};
  const Descriptor from(ends[0]);
  Descriptor to(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to.get(), STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  const char* arguments[] = {"avahi-browse", "--parsable", "--resolve", "--terminate", "_vesper._tcp", nullptr};
  pid_t child = -1;
  const int failed =
      posix_spawnp(&child, arguments[0], &actions, nullptr, const_cast<char* const*>(arguments), environ);
  posix_spawn_file_actions_destroy(&actions);
  to = Descriptor();
  if (failed != 0) return {};
  std::string text;
  const auto until = Clock::now() + kPatience;
  for (char bytes[1024]; text.size() < kMaxText;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd one{from.get(), POLLIN, 0};
    if (left <= 0 || poll(&one, 1, static_cast<int>(left)) <= 0) break;
    const ssize_t count = read(from.get(), bytes, sizeof(bytes));
    if (count <= 0) break;
    text.append(bytes, static_cast<size_t>(count));
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  return ParseDiscovered(text);
}

}  // namespace vesper::tools
