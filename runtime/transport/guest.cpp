// How a guest's program comes by a channel to the host: it opens a port that nobody has (virtio-serial, named vesper.N by
// whoever started the guest), hears what the host says first, and finds the memory that belongs to it (device DAX of a
// virtio-pmem device). Nothing is to be configured, and nothing but the right to open these devices is needed.
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/area.h"
#include "runtime/transport/endpoint.h"

namespace vesper {
namespace transport {
namespace {

using std::chrono::milliseconds;

constexpr char kPorts[] = "/sys/class/virtio-ports";
constexpr char kDaxDevices[] = "/sys/bus/dax/devices";
constexpr std::string_view kPortPrefix = "vesper.";
// What the host says first lies ready in a port that nobody had before.
constexpr milliseconds kLabelTime{1000};
constexpr milliseconds kAgain{50};

std::vector<std::string> NamesIn(const char* folder) {
  std::vector<std::string> names;
  DIR* const open = ::opendir(folder);
  if (open == nullptr) return names;
  while (const dirent* entry = ::readdir(open)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  ::closedir(open);
  std::sort(names.begin(), names.end());
  return names;
}

std::string FirstBytesOf(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 64> text;
  const ssize_t count = file.valid() ? ::read(file.get(), text.data(), text.size()) : -1;
  return count > 0 ? std::string(text.data(), static_cast<size_t>(count)) : std::string();
}

std::vector<std::string> Ports() {
  std::vector<std::string> ports;
  for (const std::string& name : NamesIn(kPorts)) {
    const bool ours = FirstBytesOf(std::string(kPorts) + "/" + name + "/name").starts_with(kPortPrefix);
    if (ours) ports.push_back("/dev/" + name);
  }
  return ports;
}

// A device, or where there is no virtual machine between the two the socket that it stands for.
Descriptor OpenPort(const std::string& path, const Deadline& deadline, int* error) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    *error = errno;
    return {};
  }
  if (!S_ISSOCK(status.st_mode)) {
    Descriptor port(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
    *error = errno;
    return port;
  }
  std::string ignored;
  Address address;
  address.path = path;
  const auto endpoints = Resolve(address, false, deadline, &ignored);
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!endpoints.empty() && socket.valid() &&
      ::connect(socket.get(), endpoints.front().address(), endpoints.front().length) == 0) {
    return socket;
  }
  *error = errno;
  return {};
}

// What the host says first to whoever opens a port. False when it was said to somebody else, who is gone without the host's
// having noticed.
bool ReadLabel(int port, const Deadline& deadline, AreaLabel* label) {
  std::array<uint8_t, sizeof(AreaLabel)> bytes;
  size_t filled = 0;
  while (filled < bytes.size()) {
    pollfd entry{port, POLLIN, 0};
    const int ready = ::poll(&entry, 1, deadline.PollMilliseconds());
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0 || (entry.revents & POLLIN) == 0) return false;
    const ssize_t count = ::read(port, &bytes[filled], bytes.size() - filled);
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return false;
    if (count > 0) filled += static_cast<size_t>(count);
  }
  std::memcpy(label, bytes.data(), bytes.size());
  return label->magic == AreaLabel::kMagic;
}

// Tells the host that whoever had the port is gone, by what is no message: it then begins anew.
void GiveUp(int port) {
  std::array<uint8_t, sizeof(AreaLabel)> nonsense;
  nonsense.fill(0xff);
  [[maybe_unused]] const ssize_t written = ::write(port, nonsense.data(), nonsense.size());
}

std::shared_ptr<Area> OpenArea(const std::string& path, const AreaLabel& label, std::string* error) {
  Descriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  struct stat status {};
  if (!file.valid() || ::fstat(file.get(), &status) != 0) {
    *error = path + ": " + SystemError(errno);
    return nullptr;
  }
  // A file is the host's own, with what the guest's kernel hides.
  const uint64_t begin = S_ISREG(status.st_mode) ? Area::kUnit : 0;
  if (begin != 0 && static_cast<uint64_t>(status.st_size) < begin + label.bytes) {
    *error = path + " is too short";
    return nullptr;
  }
  std::string why;
  std::shared_ptr<Area> area = Area::OfGuest(std::move(file), begin, label, &why);
  if (area == nullptr) *error = path + ": " + why;
  return area;
}

// nullptr where there is none, or it may not be opened: then all goes through the port.
std::shared_ptr<Area> FindArea(const Address& address, const AreaLabel& label) {
  std::string ignored;
  if (label.bytes == 0) return nullptr;
  if (!address.path.empty()) return OpenArea(address.area, label, &ignored);
  for (const std::string& name : NamesIn(kDaxDevices)) {
    if (std::shared_ptr<Area> area = OpenArea("/dev/" + name, label, &ignored)) return area;
  }
  return nullptr;
}

Descriptor TryPort(const std::string& path, const Deadline& deadline, AreaLabel* label, std::string* error) {
  int reason = 0;
  Descriptor port = OpenPort(path, deadline, &reason);
  if (!port.valid()) {
    *error = path + ": " + (reason == EBUSY ? "another process has it" : SystemError(reason));
    return {};
  }
  const auto left = deadline.never() ? kLabelTime : std::min(kLabelTime, milliseconds(deadline.PollMilliseconds()));
  if (ReadLabel(port.get(), Deadline(left), label)) return port;
  GiveUp(port.get());
  *error = path + ": no server is ready at its other end";
  return {};
}

// A port whose process has ended is the next one's as soon as the host has seen that.
Descriptor FindPort(const Address& address, const Deadline& deadline, AreaLabel* label, std::string* error) {
  std::string why = "no port is named vesper.N: start the guest with what `vesper-server --guest` prints";
  for (;;) {
    for (const std::string& path : address.path.empty() ? Ports() : std::vector{address.path}) {
      Descriptor port = TryPort(path, deadline, label, &why);
      if (port.valid()) return port;
    }
    if (deadline.passed() || (address.path.empty() && !IsGuest())) break;
    ::poll(nullptr, 0, static_cast<int>(kAgain.count()));
  }
  *error = "cannot connect to " + address.ToString() + ": " + why;
  return {};
}

}  // namespace

std::unique_ptr<Channel> ConnectGuest(const Address& address, const Deadline& deadline, std::string* error) {
  AreaLabel label;
  Descriptor port = FindPort(address, deadline, &label, error);
  if (!port.valid()) return nullptr;
  auto channel = MakeGuestChannel(port.Release(), FindArea(address, label));
  if (channel == nullptr) *error = "cannot connect to " + address.ToString() + ": no file descriptor is left";
  return channel;
}

}  // namespace transport

Descriptor OpenGuestPort(const Address& address, int timeout_ms, std::string* error) {
  AreaLabel ignored;
  return transport::FindPort(address, transport::Deadline(std::chrono::milliseconds(timeout_ms)), &ignored, error);
}

bool IsGuest() { return !transport::Ports().empty(); }

}  // namespace vesper
