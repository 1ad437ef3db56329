#include "server/sandbox/groups.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>

#include "runtime/descriptor.h"
#include "server/base/limits.h"
#include "server/base/log.h"

namespace vesper::server {
namespace {

// One write, as the kernel wants it. False with errno.
bool Write(const std::string& path, std::string_view text) {
  const Descriptor file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file.valid() && write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

bool Make(const std::string& folder) { return mkdir(folder.c_str(), 0755) == 0 || errno == EEXIST; }

// As systemd marks it; where that cannot be read, it is ours although we are not root.
bool IsDelegated(const std::string& folder) {
  char value = 0;
  for (const char* name : {"user.delegate", "trusted.delegate"}) {
    if (getxattr(folder.c_str(), name, &value, 1) == 1) return value == '1';
  }
  struct stat status {};
  return geteuid() != 0 && stat(folder.c_str(), &status) == 0 && status.st_uid == geteuid();
}

}  // namespace

std::string Groups::Delegated() {
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (!line.starts_with("0::/")) continue;
    std::string folder = "/sys/fs/cgroup" + line.substr(3);
    if (IsDelegated(folder) && access((folder + "/cgroup.subtree_control").c_str(), W_OK) == 0) return folder;
  }
  return {};
}

Groups::~Groups() {
  for (const std::string& folder : made_) rmdir(folder.c_str());  // fails while a worker is in it
}

bool Groups::Begin(const std::string& folder, uint64_t memory_bytes, std::string* error) {
  const std::string own = folder + "/supervisor";
  if (!Make(own) || !Write(own + "/cgroup.procs", std::to_string(getpid()))) {
    *error = fmt::format("{}: {}", own, std::strerror(errno));
    return false;
  }
  // Those that there are; without one its bounds are not there either.
  std::ifstream controllers(folder + "/cgroup.controllers");
  bool any = false;
  for (std::string name; controllers >> name;) {
    if (name != "cpu" && name != "memory" && name != "pids") continue;
    if (Write(folder + "/cgroup.subtree_control", "+" + name)) {
      any = true;
    } else {
      *error = fmt::format("{}: {}", name, std::strerror(errno));
    }
  }
  if (!any) {
    if (error->empty()) *error = "no controller was delegated";
    return false;
  }
  error->clear();
  folder_ = folder;
  memory_bytes_ = memory_bytes;
  return true;
}

void Groups::Enter(uint32_t place, pid_t pid) {
  if (!used() || pid <= 0) return;
  const std::string folder = fmt::format("{}/worker-{}", folder_, place);
  const bool made = Make(folder);
  if (made) made_.insert(folder);
  // What a controller that is missing would bound is bounded by the worker itself.
  if (memory_bytes_ != 0) Write(folder + "/memory.max", std::to_string(memory_bytes_));
  Write(folder + "/memory.oom.group", "1");
  Write(folder + "/pids.max", std::to_string(limits::kMaxThreads));
  if (made && Write(folder + "/cgroup.procs", std::to_string(pid))) return;
  Log(LogLevel::kError, "a worker has no control group of its own: {}: {}", folder, std::strerror(errno));
}

}  // namespace vesper::server
