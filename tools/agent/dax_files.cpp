#include "tools/agent/dax_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sched.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace vesper::agent {
namespace {

constexpr uint64_t kPage = AgentLabel::kPage;
constexpr char kDevices[] = "/sys/class/block";

std::string SystemError(const std::string& what) { return what + ": " + std::strerror(errno); }

// The device whose last page says that it is for this.
std::string FindDevice(uint64_t* bytes) {
  std::string found;
  DIR* const open = ::opendir(kDevices);
  if (open == nullptr) return found;
  while (const dirent* entry = ::readdir(open)) {
    const std::string name = entry->d_name;
    if (!name.starts_with("pmem")) continue;
    const Descriptor device(::open(("/dev/" + name).c_str(), O_RDONLY | O_CLOEXEC));
    const off_t size = device.valid() ? ::lseek(device.get(), 0, SEEK_END) : 0;
    AgentLabel label;
    if (size < static_cast<off_t>(2 * kPage) ||
        ::pread(device.get(), &label, sizeof(label), size - static_cast<off_t>(kPage)) != sizeof(label) ||
        label.magic != AgentLabel::kMagic || label.bytes != static_cast<uint64_t>(size) - kPage) {
      continue;
    }
    *bytes = label.bytes;
    found = "/dev/" + name;
  }
  ::closedir(open);
  return found;
}

// What an earlier machine or a killed one left there is of no use to anybody. Fails where it is mounted, which is as well.
void MakeFileSystem(const std::string& device, uint64_t bytes) {
  std::string blocks = std::to_string(bytes / kPage);
  std::array<std::string, 16> words{"mkfs.ext4",
                                    "-q",
                                    "-F",
                                    "-b",
                                    "4096",
                                    "-m",
                                    "0",
                                    "-N",
                                    "16384",
                                    "-O",
                                    "^has_journal,^resize_inode",
                                    "-E",
                                    "nodiscard,lazy_itable_init=0",
                                    device,
                                    blocks};
  std::vector<char*> arguments;
  for (std::string& word : words) {
    if (!word.empty()) arguments.push_back(word.data());
  }
  arguments.push_back(nullptr);
  std::array<char*, 2> environment{const_cast<char*>("PATH=/usr/sbin:/usr/bin:/sbin:/bin"), nullptr};
  posix_spawn_file_actions_t quiet;
  posix_spawn_file_actions_init(&quiet);
  posix_spawn_file_actions_addopen(&quiet, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t made = 0;
  for (const char* path : {"/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"}) {
    if (::posix_spawn(&made, path, &quiet, nullptr, arguments.data(), environment.data()) != 0) continue;
    ::waitpid(made, nullptr, 0);
    break;
  }
  posix_spawn_file_actions_destroy(&quiet);
}

bool WriteZeros(int file, uint64_t bytes) {
  constexpr size_t kPiece = size_t{1} << 20;
  const std::vector<uint8_t> zeros(std::min<uint64_t>(bytes, kPiece));
  while (bytes != 0) {
    const ssize_t count = ::write(file, zeros.data(), std::min<uint64_t>(bytes, zeros.size()));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    bytes -= static_cast<uint64_t>(count);
  }
  return true;
}

// False where the kernel cannot say, or the bytes are not where they will stay.
bool FindPlaces(int file, uint64_t bytes, std::vector<AgentFrame::Place>* places) {
  constexpr uint32_t kAtOnce = 64;
  constexpr uint32_t kUnfit = FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_ENCODED |
                              FIEMAP_EXTENT_NOT_ALIGNED | FIEMAP_EXTENT_UNWRITTEN | FIEMAP_EXTENT_SHARED;
  alignas(fiemap) std::array<uint8_t, sizeof(fiemap) + kAtOnce * sizeof(fiemap_extent)> space;
  uint64_t at = 0;
  while (at < bytes) {
    space.fill(0);
    auto* const map = reinterpret_cast<fiemap*>(space.data());
    map->fm_start = at;
    map->fm_length = bytes - at;
    map->fm_flags = FIEMAP_FLAG_SYNC;
    map->fm_extent_count = kAtOnce;
    if (::ioctl(file, FS_IOC_FIEMAP, map) != 0 || map->fm_mapped_extents == 0) return false;
    for (uint32_t i = 0; i < map->fm_mapped_extents && at < bytes; ++i) {
      fiemap_extent extent;
      std::memcpy(&extent, space.data() + sizeof(fiemap) + i * sizeof(extent), sizeof(extent));
      if (extent.fe_logical != at || (extent.fe_flags & kUnfit) != 0 || places->size() == AgentFrame::kMostPlaces) {
        return false;
      }
      const uint64_t length = std::min<uint64_t>(extent.fe_length, bytes - at);
      places->push_back({extent.fe_physical, length});
      at += length;
    }
  }
  return true;
}

}  // namespace

bool DaxFiles::Open(const std::string& folder, std::string* error) {
  folder_ = Descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder_.valid()) *error = SystemError(folder);
  return folder_.valid();
}

bool DaxFiles::Mount(const std::string& folder, std::string* error) {
  uint64_t bytes = 0;
  const std::string device = FindDevice(&bytes);
  if (device.empty()) {
    *error = "no memory of the host is meant for this (vesper-server --guest NAME,venus=MIB), or it may not be read";
    return false;
  }
  MakeFileSystem(device, bytes);
  if ((::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) || ::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0 ||
      ::mount(device.c_str(), folder.c_str(), "ext4", MS_NOSUID | MS_NODEV | MS_NOEXEC, "dax=always") != 0) {
    *error = SystemError(device + " cannot be mounted at " + folder);
    return false;
  }
  return Open(folder, error);
}

DaxFile DaxFiles::Make(const AgentFrame::Make& asked, std::string* error) const {
  DaxFile made;
  const std::string self = "/proc/self/fd/" + std::to_string(folder_.get());
  Descriptor file(::open(self.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  // Written, so that the kernel does not make zeros of what the host writes.
  if (!file.valid() || ::posix_fallocate(file.get(), 0, static_cast<off_t>(asked.bytes)) != 0 ||
      !WriteZeros(file.get(), asked.bytes) ||
      ::pwrite(file.get(), &asked.mark, sizeof(asked.mark), 0) != sizeof(asked.mark) || ::fsync(file.get()) != 0) {
    *error = SystemError("a file of " + std::to_string(asked.bytes) + " bytes");
    return made;
  }
  if (!FindPlaces(file.get(), asked.bytes, &made.places)) {
    *error = "the kernel does not say where a file of " + std::to_string(asked.bytes) + " bytes is";
    made.places.clear();
    return made;
  }
  made.file = std::move(file);
  return made;
}

}  // namespace vesper::agent
