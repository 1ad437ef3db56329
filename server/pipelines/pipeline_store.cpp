#include "server/pipelines/pipeline_store.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
// after it, whose types it uses
#include <linux/vm_sockets.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "server/base/limits.h"
#include "server/base/log.h"

namespace vesper::server {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kEnding = ".pipelines";

std::string DefaultFolder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && cache[0] == '/') {
    return std::string(cache) + "/vesper/pipelines";
  }
  if (geteuid() == 0) return "/var/cache/vesper/pipelines";
  const char* home = std::getenv("HOME");
  return home == nullptr || home[0] != '/' ? "" : std::string(home) + "/.cache/vesper/pipelines";
}

// Whole or not at all.
bool Copy(const Descriptor& from, const std::string& path) {
  struct stat status {};
  if (fstat(from.get(), &status) != 0) return false;
  const std::string draft = path + ".new";
  unlink(draft.c_str());
  bool whole = false;
  {
    const Descriptor to(open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    off_t at = 0;
    while (to.valid() && at < status.st_size) {
      const ssize_t count = sendfile(to.get(), from.get(), &at, static_cast<size_t>(status.st_size - at));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) break;
    }
    whole = to.valid() && at == status.st_size;
  }
  if (whole && rename(draft.c_str(), path.c_str()) == 0) return true;
  unlink(draft.c_str());
  return false;
}

}  // namespace

PipelineStore::PipelineStore(const std::string& folder)
    : folder_(folder == "off"  ? ""
              : folder.empty() ? DefaultFolder()
                               : folder) {}

// A client's name may hold anything: in a file's there is a number instead.
std::string PipelineStore::PathOf(std::string_view client, const PipelineKey& key) const {
  return fmt::format("{}/{:016x}-{:016x}{}", folder_, XXH3_64bits(client.data(), client.size()),
                     XXH3_64bits(&key, sizeof(key)), kEnding);
}

Descriptor PipelineStore::Find(std::string_view client, const PipelineKey& key) const {
  if (folder_.empty()) return {};
  return Descriptor(open(PathOf(client, key).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
}

void PipelineStore::Keep(std::string_view client, const PipelineKey& key, const Descriptor& file) {
  if (folder_.empty()) return;
  const std::string path = PathOf(client, key);
  if (!file.valid()) {
    unlink(path.c_str());
    return;
  }
  if (!IsPipelineFile(file)) return;
  struct stat status {};
  fstat(file.get(), &status);
  std::error_code error;
  fs::create_directories(folder_, error);
  chmod(folder_.c_str(), 0700);
  MakeRoom(static_cast<uint64_t>(status.st_size));
  if (Copy(file, path) || std::exchange(complained_, true)) return;
  Log(LogLevel::kWarning, "pipelines are not kept in {}: {} (--pipelines)", folder_, std::strerror(errno));
}

void PipelineStore::MakeRoom(uint64_t bytes) const {
  struct Kept {
    fs::file_time_type time;
    fs::path path;
    uint64_t size;
  };
  std::vector<Kept> all;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    std::error_code gone;
    if (!entry.path().native().ends_with(kEnding) || !entry.is_regular_file(gone)) continue;
    all.push_back({entry.last_write_time(gone), entry.path(), entry.file_size(gone)});
    bytes += all.back().size;
  }
  std::sort(all.begin(), all.end(), [](const Kept& a, const Kept& b) { return a.time < b.time; });
  for (const Kept& kept : all) {
    if (bytes <= limits::kMaxPipelineFolder) return;
    fs::remove(kept.path, error);
    bytes -= kept.size;
  }
}

std::string PipelineOwner(std::string_view name, int socket) {
  if (!name.empty()) return std::string(name);
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  if (getpeername(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return "anyone by TCP";
  if (address.ss_family == AF_UNIX) {
    ucred credentials{};
    length = sizeof(credentials);
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0) {
      return fmt::format("user {}", credentials.uid);
    }
  }
  if (address.ss_family == AF_VSOCK) {
    return fmt::format("machine {}", reinterpret_cast<const sockaddr_vm*>(&address)->svm_cid);
  }
  return "anyone by TCP";
}

}  // namespace vesper::server
