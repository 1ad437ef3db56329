#include "server/entry/activation.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace vesper::server {
namespace {

constexpr int kFirst = 3;  // SD_LISTEN_FDS_START
constexpr int kMostSockets = 64;

std::string_view Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : value;
}

int Number(std::string_view text) {
  int number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  return failed == std::errc{} && end == text.data() + text.size() ? number : -1;
}

}  // namespace

std::optional<std::vector<std::unique_ptr<Listener>>> PassedListeners(std::string* error) {
  std::vector<std::unique_ptr<Listener>> listeners;
  const bool ours = Number(Variable("LISTEN_PID")) == getpid();
  const int count = ours ? Number(Variable("LISTEN_FDS")) : 0;
  std::string names(Variable("LISTEN_FDNAMES"));
  for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) unsetenv(name);
  if (count > kMostSockets) {
    *error = "systemd passes more than " + std::to_string(kMostSockets) + " sockets";
    return std::nullopt;
  }
  std::string_view rest = names;
  for (int i = 0; i < count; ++i) {
    const std::string_view name = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(rest.size(), name.size() + 1));
    const Address::Kind kind = name == "tcp" ? Address::Kind::kTcp : Address::Kind::kTls;
    std::unique_ptr<Listener> listener = Listener::Adopt(kFirst + i, kind, error);
    if (listener == nullptr) {
      *error = "socket " + std::to_string(i) + " of systemd (" + std::string(name) + "): " + *error;
      return std::nullopt;
    }
    listeners.push_back(std::move(listener));
  }
  return listeners;
}

}  // namespace vesper::server
