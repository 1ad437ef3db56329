#include "server/entry/guests.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include "runtime/agent_line.h"
#include "server/base/limits.h"
#include "server/base/log.h"

namespace vesper::server {
namespace {

constexpr mode_t kFolderMode = 0711;  // what lies in it has modes of its own

bool IsNumber(std::string_view text, uint32_t most, uint32_t* number) {
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return status == std::errc() && end == text.data() + text.size() && *number > 0 && *number <= most;
}

bool IsName(std::string_view text) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
  return !text.empty() && text.size() <= limits::kGuestNameBytes &&
         text.find_first_not_of(kLetters) == std::string_view::npos;
}

// Only its owner may have made what lies there.
bool MakeFolder(const std::string& folder, std::string* error) {
  struct stat status {};
  const bool made =
      ::mkdir(folder.c_str(), kFolderMode) == 0 && ::chmod(folder.c_str(), kFolderMode) == 0;  // any umask
  if ((!made && errno != EEXIST) || ::lstat(folder.c_str(), &status) != 0) {
    *error = fmt::format("{}: {}", folder, std::strerror(errno));
    return false;
  }
  if (S_ISDIR(status.st_mode) && status.st_uid == ::geteuid()) return true;
  *error = fmt::format("{} is no folder of this user", folder);
  return false;
}

pid_t PeerOf(int socket) {
  ucred peer{};
  socklen_t length = sizeof(peer);
  return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 ? peer.pid : 0;
}

bool Lives(pid_t process) { return process > 0 && (kill(process, 0) == 0 || errno == EPERM); }

}  // namespace

Guests::~Guests() {
  for (const auto& guest : guests_) {
    if (Lives(guest->machine)) continue;
    ::unlink(guest->path.c_str());
    if (guest->venus.valid()) ::unlink(guest->venus_path.c_str());
  }
}

bool Guests::Parse(const std::string& text, Guest* guest, uint64_t* mebibytes, std::string* error) {
  std::string_view rest = text;
  const auto next = [&rest] {
    const std::string_view part = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    return part;
  };
  guest->name = next();
  guest->ports = limits::kGuestPorts;
  uint32_t memory = limits::kGuestMebibytes, venus = 0;
  bool sound = IsName(guest->name);
  while (sound && !rest.empty()) {
    const std::string_view part = next();
    constexpr std::string_view kMemory = "memory=", kPorts = "ports=", kVenus = "venus=";
    if (part.starts_with(kMemory)) {
      sound = IsNumber(part.substr(kMemory.size()), limits::kMostGuestMebibytes, &memory);
    } else if (part.starts_with(kVenus)) {
      sound = IsNumber(part.substr(kVenus.size()), limits::kMostGuestMebibytes, &venus);
    } else {
      sound = part.starts_with(kPorts) && IsNumber(part.substr(kPorts.size()), limits::kMostGuestPorts, &guest->ports);
    }
  }
  *mebibytes = memory;
  guest->venus_bytes = Area::InUnits(uint64_t{venus} << 20);
  if (!sound)
    *error = "write NAME[,memory=MIB][,ports=N][,venus=MIB], a name of letters, digits, - and _, and up to 120 ports";
  return sound;
}

bool Guests::Add(const std::string& text, const std::string& folder, const LocalPeers& peers, std::string* error) {
  auto guest = std::make_unique<Guest>();
  uint64_t mebibytes = 0;
  if (!Parse(text, guest.get(), &mebibytes, error)) return false;
  const auto is_namesake = [&](const auto& each) { return each->name == guest->name; };
  if (std::any_of(guests_.begin(), guests_.end(), is_namesake)) {
    *error = "there is another of that name";
    return false;
  }
  const std::string place = folder.empty() ? fmt::format("/dev/shm/vesper-{}", ::geteuid()) : folder;
  if (!MakeFolder(place, error)) return false;
  guest->path = fmt::format("{}/{}.mem", place, guest->name);
  Address address;
  address.path = fmt::format("{}/{}.sock", place, guest->name);
  guest->listener = Listener::Open(address, error);  // which fails where another server has that guest
  if (guest->listener == nullptr || !peers.Open(address.path, error)) return false;
  guest->file = OpenAreaFile(guest->path, mebibytes << 20, error);
  if (!guest->file.valid() || !peers.Open(guest->path, error)) return false;
  guest->label.bytes = Area::InUnits(mebibytes << 20);
  if (::getrandom(guest->label.id.data(), guest->label.id.size(), 0) != static_cast<ssize_t>(guest->label.id.size()) ||
      !WriteLabel(guest->file, guest->label)) {
    *error = fmt::format("{}: {}", guest->path, std::strerror(errno));
    return false;
  }
  if (!MakeVenus(guest.get(), place, peers, error)) return false;
  guests_.push_back(std::move(guest));
  return true;
}

// The file system in it is the guest's affair; its last page says what it is for.
bool Guests::MakeVenus(Guest* guest, const std::string& place, const LocalPeers& peers, std::string* error) {
  if (guest->venus_bytes == 0) return true;
  guest->venus_path = fmt::format("{}/{}.venus", place, guest->name);
  guest->venus = Descriptor(::open(guest->venus_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  struct stat status {};
  const auto size = static_cast<off_t>(guest->venus_bytes);
  AgentLabel label;
  label.bytes = guest->venus_bytes - AgentLabel::kPage;
  const bool opened = guest->venus.valid() && ::fstat(guest->venus.get(), &status) == 0;
  if (opened &&
      (!S_ISREG(status.st_mode) || status.st_uid != ::geteuid() || (status.st_size != 0 && status.st_size != size))) {
    *error = guest->venus_path + " is another's, or of another size: remove it when no guest uses it";
    return false;
  }
  if (opened && ::ftruncate(guest->venus.get(), size) == 0 &&
      ::pwrite(guest->venus.get(), &label, sizeof(label), static_cast<off_t>(label.bytes)) == sizeof(label)) {
    return peers.Open(guest->venus_path, error);
  }
  *error = fmt::format("{}: {}", guest->venus_path, std::strerror(errno));
  return false;
}

void Guests::Print() const {
  for (const auto& guest : guests_) {
    std::string options = fmt::format(
        "-object memory-backend-file,id=vesper,share=on,mem-path={},size={} -device virtio-pmem-pci,memdev=vesper",
        guest->path, guest->label.bytes + Area::kUnit);
    if (guest->venus.valid()) {
      options += fmt::format(
          " -object memory-backend-file,id=vesper-venus,share=on,mem-path={},size={} -device "
          "virtio-pmem-pci,memdev=vesper-venus",
          guest->venus_path, guest->venus_bytes);
    }
    // As many devices as it takes for the ports.
    for (uint32_t port = 0; port < guest->ports; ++port) {
      const uint32_t device = port / limits::kPortsOfDevice;
      if (port % limits::kPortsOfDevice == 0) {
        options += fmt::format(" -device virtio-serial-pci,id=vesper{},max_ports={}", device,
                               std::min(guest->ports - port, limits::kPortsOfDevice) + 1);
      }
      options += fmt::format(
          " -chardev socket,id=vesper{0},path={1},reconnect=1 -device "
          "virtserialport,bus=vesper{2}.0,chardev=vesper{0},name=vesper.{0}",
          port, guest->listener->address().path, device);
    }
    std::printf("guest %s: %s\n", guest->name.c_str(), options.c_str());
  }
  std::fflush(stdout);
}

void Guests::AddTo(std::vector<pollfd>* entries) const {
  for (const auto& guest : guests_) {
    entries->push_back({guest->listener->fd(), POLLIN, 0});
    for (const Descriptor& port : guest->silent) entries->push_back({port.get(), POLLIN | POLLRDHUP, 0});
  }
}

// What is said first goes to the program that opens the port, whenever that is.
void Guests::Accept(Guest* guest, const LocalPeers& peers) {
  for (int i = 0; i < limits::kMaxAccepted; ++i) {
    Descriptor port(guest->listener->Accept());
    if (!port.valid()) return;
    std::string why;
    if (!peers.Allows(port.get(), &why)) {
      Log(LogLevel::kWarning, "guest {}: {}", guest->name, why);
      continue;
    }
    if (guest->silent.size() >= guest->ports) continue;
    guest->machine = PeerOf(port.get());
    if (send(port.get(), &guest->label, sizeof(guest->label), MSG_NOSIGNAL | MSG_DONTWAIT) ==
        static_cast<ssize_t>(sizeof(guest->label))) {
      guest->silent.push_back(std::move(port));
    }
  }
}

void Guests::Look(const LocalPeers& peers, const std::function<void(int socket, const Admission&)>& enter) {
  for (size_t i = 0; i < guests_.size(); ++i) {
    Guest& guest = *guests_[i];
    Accept(&guest, peers);
    for (size_t k = 0; k < guest.silent.size();) {
      char byte;
      const ssize_t count = recv(guest.silent[k].get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
      if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        ++k;
        continue;
      }
      Descriptor port = std::move(guest.silent[k]);
      guest.silent.erase(guest.silent.begin() + static_cast<ptrdiff_t>(k));
      if (count <= 0) continue;  // the machine has ended
      Admission admission;
      admission.guest = static_cast<uint32_t>(i + 1);
      admission.venus = byte == AgentFrame::kGreeting.front();
      admission.set_name(std::string(kGuestName) + guest.name);
      enter(port.Release(), admission);
    }
  }
}

void Guests::Keep(uint32_t guest, Descriptor area) {
  if (guest != 0 && guest <= guests_.size()) guests_[guest - 1]->kept.push_back(std::move(area));
}

bool Guests::waits() const {
  return std::any_of(guests_.begin(), guests_.end(), [](const auto& guest) { return !guest->kept.empty(); });
}

// What was said first is taken by whoever has the port open: where it still lies, nobody has.
void Guests::Release(const std::function<size_t(uint32_t guest)>& sessions) {
  for (size_t i = 0; i < guests_.size(); ++i) {
    Guest& guest = *guests_[i];
    if (guest.kept.empty()) continue;
    const auto is_closed = [](const Descriptor& port) {
      int unread = 0;
      return ioctl(port.get(), SIOCOUTQ, &unread) == 0 && unread > 0;
    };
    const auto closed = static_cast<size_t>(std::count_if(guest.silent.begin(), guest.silent.end(), is_closed));
    if (closed + sessions(static_cast<uint32_t>(i + 1)) >= guest.ports || !Lives(guest.machine)) guest.kept.clear();
  }
}

Descriptor Guests::OpenMemory(const Admission& admission) const {
  if (admission.guest == 0 || admission.guest > guests_.size()) return {};
  const Guest& guest = *guests_[admission.guest - 1];
  const std::string path = fmt::format("/proc/self/fd/{}", (admission.venus ? guest.venus : guest.file).get());
  return Descriptor(::open(path.c_str(), O_RDWR | O_CLOEXEC));
}

}  // namespace vesper::server
