#include "runtime/address.h"

#include <arpa/inet.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include "runtime/environment.h"

namespace vesper {
namespace {

constexpr size_t kMaxUnixPath = sizeof(sockaddr_un{}.sun_path) - 1;

std::optional<Address> Wrong(const std::string& text, const std::string& why, std::string* error) {
  *error = "\"" + text + "\" is no address: " + why;
  return std::nullopt;
}

std::optional<Address> ParseUnix(const std::string& text, std::string_view path, std::string* error) {
  if (path.empty()) return Wrong(text, "a path is missing, as in unix:/run/vesper.sock", error);
  if (path.find('\0') != path.npos) return Wrong(text, "a path holds no zero byte", error);
  if (path.size() > kMaxUnixPath) {
    return Wrong(text,
                 "the path is longer than the " + std::to_string(kMaxUnixPath) + " bytes that a Unix socket can have",
                 error);
  }
  Address address;
  address.kind = Address::Kind::kUnix;
  address.path = path;
  return address;
}

struct Cid {
  std::string_view name;
  uint32_t number;
};
constexpr std::array kCids = {Cid{"any", Address::kAnyCid}, Cid{"local", Address::kLocalCid},
                              Cid{"host", Address::kHostCid}};

template <typename Number>
bool IsNumber(std::string_view text, Number* number) {
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return status == std::errc() && end == text.data() + text.size();
}

// Splits HOST:PORT or [HOST]:PORT. Returns what is wrong, or nullptr.
const char* SplitHost(std::string_view rest, std::string_view* host, std::string_view* port) {
  size_t colon;
  if (!rest.empty() && rest.front() == '[') {
    const size_t end = rest.find(']');
    if (end == rest.npos) return "the bracket is not closed, as in tcp://[::1]:7700";
    *host = rest.substr(1, end - 1);
    colon = end + 1;
    if (colon < rest.size() && rest[colon] != ':') return "a colon must follow the bracket, as in tcp://[::1]:7700";
    if (colon >= rest.size()) return "the port is missing, as in tcp://[::1]:7700";
  } else {
    colon = rest.rfind(':');
    if (colon == rest.npos) return "the port is missing, as in tcp://127.0.0.1:7700";
    *host = rest.substr(0, colon);
    if (host->find(':') != host->npos) return "an IPv6 address belongs in brackets, as in tcp://[::1]:7700";
  }
  *port = rest.substr(colon + 1);
  if (host->empty()) return "the host is missing, as in tcp://127.0.0.1:7700";
  if (host->find_first_of(std::string_view(" /[]@\0", 6)) != host->npos) {
    return "this is no host name, write it as in tcp://192.168.1.5:7700";
  }
  return nullptr;
}

std::optional<Address> ParseTcp(const std::string& text, std::string_view rest, std::string* error) {
  std::string_view host, port;
  if (const char* why = SplitHost(rest, &host, &port); why != nullptr) return Wrong(text, why, error);
  Address address;
  address.kind = Address::Kind::kTcp;
  address.host = host;
  uint16_t number = 0;
  if (!IsNumber(port, &number)) {
    return Wrong(text, "the port must be a number up to 65535, as in tcp://127.0.0.1:7700", error);
  }
  address.port = number;
  return address;
}

std::optional<Address> ParseVsock(const std::string& text, std::string_view rest, std::string* error) {
  Address address;
  address.kind = Address::Kind::kVsock;
  const size_t colon = rest.find(':');
  if (colon == rest.npos) return Wrong(text, "the port is missing, as in vsock://host:7700", error);
  const std::string_view cid = rest.substr(0, colon);
  if (const auto named = std::find_if(kCids.begin(), kCids.end(), [cid](const Cid& each) { return each.name == cid; });
      named != kCids.end()) {
    address.cid = named->number;
  } else if (!IsNumber(cid, &address.cid)) {
    return Wrong(text, "the machine must be a number, host, local or any, as in vsock://host:7700", error);
  }
  if (!IsNumber(rest.substr(colon + 1), &address.port)) {
    return Wrong(text, "the port must be a number up to 4294967295, as in vsock://host:7700", error);
  }
  return address;
}

// guest:// or guest:PORT,FILE
std::optional<Address> ParseGuest(const std::string& text, std::string_view rest, std::string* error) {
  Address address;
  address.kind = Address::Kind::kGuest;
  if (rest == "//") return address;
  const size_t comma = rest.find(',');
  if (comma == rest.npos || comma == 0 || comma + 1 == rest.size() || rest.find('\0') != rest.npos) {
    return Wrong(text, "write guest://, or guest:PORT,FILE with both paths", error);
  }
  address.path = rest.substr(0, comma);
  address.area = rest.substr(comma + 1);
  return address;
}

// What is said of a wrong one leaves its token out.
std::optional<Address> ParseTls(std::string_view rest, std::string* error) {
  std::string_view token, fingerprint;
  if (const size_t end = rest.find('#'); end != rest.npos) {
    fingerprint = rest.substr(end + 1);
    rest = rest.substr(0, end);
  }
  if (const size_t end = rest.find('@'); end != rest.npos) {
    token = rest.substr(0, end);
    rest = rest.substr(end + 1);
  }
  std::optional<Address> address = ParseTcp("tls://" + std::string(rest), rest, error);
  if (!address) return address;
  address->kind = Address::Kind::kTls;
  address->token = token;
  address->fingerprint = fingerprint;
  const bool proper = fingerprint.find_first_not_of("0123456789abcdefABCDEF:shSH") == fingerprint.npos;
  if (!proper)
    return Wrong(address->ToString(), "what follows # must be the fingerprint of the server's certificate", error);
  return address;
}

}  // namespace

std::string Address::ToString() const {
  if (kind == Kind::kUnix) return "unix:" + path;
  if (kind == Kind::kGuest) return path.empty() ? "guest://" : "guest:" + path + "," + area;
  if (kind == Kind::kVsock) {
    const auto* const named =
        std::find_if(kCids.begin(), kCids.end(), [this](const Cid& each) { return each.number == cid; });
    return "vsock://" + (named != kCids.end() ? std::string(named->name) : std::to_string(cid)) + ":" +
           std::to_string(port);
  }
  const bool v6 = host.find(':') != host.npos;
  return (kind == Kind::kTls ? "tls://" : "tcp://") + (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::string Address::WithSecrets() const {
  constexpr size_t kScheme = std::string_view("tls://").size();
  std::string text = ToString();
  if (!token.empty()) text.insert(kScheme, token + "@");
  return fingerprint.empty() ? text : text + "#" + fingerprint;
}

std::optional<Address> ParseAddress(const std::string& text, std::string* error) {
  constexpr std::string_view kUnix = "unix:", kTcp = "tcp://", kTls = "tls://", kVsock = "vsock://", kGuest = "guest:";
  const std::string_view view = text;
  if (view.starts_with(kUnix)) return ParseUnix(text, view.substr(kUnix.size()), error);
  if (view.starts_with(kTcp)) return ParseTcp(text, view.substr(kTcp.size()), error);
  if (view.starts_with(kTls)) return ParseTls(view.substr(kTls.size()), error);
  if (view.starts_with(kGuest)) return ParseGuest(text, view.substr(kGuest.size()), error);
  if (view.starts_with(kVsock)) return ParseVsock(text, view.substr(kVsock.size()), error);
  return Wrong(
      text, "write unix:PATH, tls://HOST:PORT, vsock://CID:PORT or tcp://HOST:PORT, for example tcp://127.0.0.1:7700",
      error);
}

Address DefaultUnixAddress() {
  Address address;
  address.kind = Address::Kind::kUnix;
  const char* runtime = Setting("XDG_RUNTIME_DIR");
  if (runtime != nullptr && runtime[0] == '/') address.path = std::string(runtime) + "/vesper/server.sock";
  if (address.path.empty() || address.path.size() > kMaxUnixPath) {
    address.path = "/tmp/vesper-" + std::to_string(::geteuid()) + "/server.sock";
  }
  return address;
}

Address DefaultAdminAddress() {
  constexpr std::string_view kServer = "server.sock";
  Address address = DefaultUnixAddress();
  address.path.replace(address.path.size() - kServer.size(), kServer.size(), "admin.sock");
  return address;
}

Address DefaultAddress() {
  Address address = DefaultUnixAddress();
  if (::access(address.path.c_str(), F_OK) != 0 && IsGuest()) {
    address = {};
    address.kind = Address::Kind::kGuest;
  }
  return address;
}

bool IsLoopback(const Address& address) {
  using Kind = Address::Kind;
  if (address.kind == Kind::kUnix || address.kind == Kind::kVsock || address.kind == Kind::kGuest) return true;
  if (address.host == "localhost") return true;
  in_addr v4;
  if (::inet_pton(AF_INET, address.host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  in6_addr v6;
  if (::inet_pton(AF_INET6, address.host.c_str(), &v6) != 1) return false;
  return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

}  // namespace vesper
