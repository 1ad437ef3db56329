#include "server/sandbox/sandbox.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <grp.h>
#include <linux/landlock.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <vector>

#include "runtime/descriptor.h"
#include "server/base/limits.h"
#include "server/sandbox/system_calls.h"

namespace vesper::server {
namespace {

namespace fs = std::filesystem;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

constexpr std::array<std::string_view, 3> kNames = {"off", "driver", "strict"};

// Folders that a driver does not need, in which people and other services keep their files. All others stay readable, as far as
// the worker's user may read them: drivers, their libraries and data lie in many places.
constexpr std::array<std::string_view, 13> kHidden = {"/home", "/root", "/tmp",   "/run",        "/var", "/etc", "/srv",
                                                      "/mnt",  "/boot", "/media", "/lost+found", "/usr", "/dev"};
constexpr std::array<std::string_view, 9> kReadable = {"/usr",        "/etc/ld.so.cache", "/etc/vulkan",
                                                       "/etc/glvnd",  "/etc/drirc",       "/etc/localtime",
                                                       "/etc/nvidia", "/dev/shm",         "/var/lib/nvidia"};
// Loaders look for drivers and layers where these point to.
constexpr std::array kPathVariables = {"VK_ICD_FILENAMES",   "VK_DRIVER_FILES",   "VK_ADD_DRIVER_FILES",
                                       "VK_LAYER_PATH",      "VK_ADD_LAYER_PATH", "VK_IMPLICIT_LAYER_PATH",
                                       "XDG_DATA_DIRS",      "XDG_DATA_HOME",     "LD_LIBRARY_PATH",
                                       "LIBGL_DRIVERS_PATH", "LD_PRELOAD"};

std::string Failed(const char* what) { return fmt::format("{}: {}", what, std::strerror(errno)); }

bool IsGpu(const fs::path& path) {
  const std::string name = path.filename();
  return name.starts_with("nvidia") || name == "kfd" || name == "dri" || name == "dxg" || name.starts_with("mali");
}

// The groups that may open the devices of GPUs.
std::vector<gid_t> GpuGroups() {
  std::vector<gid_t> groups;
  const auto add = [&groups](const fs::path& path) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0 || !S_ISCHR(status.st_mode) || status.st_gid == 0) return;
    if (std::find(groups.begin(), groups.end(), status.st_gid) == groups.end()) groups.push_back(status.st_gid);
  };
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/dev", ignored)) {
    if (!IsGpu(entry.path())) continue;
    add(entry.path());
    for (const auto& inner : fs::directory_iterator(entry.path(), ignored)) add(inner.path());
  }
  return groups;
}

void Limit(__rlimit_resource resource, rlim_t most) {
  rlimit limit{};
  getrlimit(resource, &limit);
  limit.rlim_max = std::min(limit.rlim_max, most);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(resource, &limit);
}

void CloseOthers(int keep) {
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null >= 0) dup2(null, STDIN_FILENO);
  if (null > STDERR_FILENO) close(null);
  const auto first = static_cast<unsigned>(STDERR_FILENO + 1), kept = static_cast<unsigned>(keep);
  if (keep > STDERR_FILENO + 1) syscall(SYS_close_range, first, kept - 1, 0);
  syscall(SYS_close_range, keep > STDERR_FILENO ? kept + 1 : first, ~0u, 0);
}

void WriteTo(const char* path, std::string_view text) {
  const Descriptor file(open(path, O_WRONLY | O_CLOEXEC));
  if (file.valid()) [[maybe_unused]]
    const ssize_t written = write(file.get(), text.data(), text.size());
}

// Gives the process a network, System V memory and mounts of its own, and makes all mounts read-only. `more` is CLONE_NEWUSER
// where that needs a user namespace, in which the process has its own user alone.
bool LeaveNamespaces(int more, std::string* error) {
  const uid_t user = geteuid();
  const gid_t group = getegid();
  if (unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWNS | CLONE_NEWUTS | more) != 0) {
    *error = Failed("namespaces");
    return false;
  }
  if (more != 0) {
    WriteTo("/proc/self/setgroups", "deny");
    WriteTo("/proc/self/uid_map", fmt::format("{} {} 1", user, user));
    WriteTo("/proc/self/gid_map", fmt::format("{} {} 1", group, group));
  }
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID;
  attributes.propagation = MS_PRIVATE;
  if (syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &attributes, sizeof(attributes)) == 0) return true;
  *error = Failed("read-only mounts");
  return false;
}

void DropBoundingSet() {
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; ++capability) prctl(PR_CAPBSET_DROP, capability);
}

bool BecomeUser(uint32_t user, std::string* error) {
  if (user == 0) return true;
  const std::vector<gid_t> groups = GpuGroups();
  if (setgroups(groups.size(), groups.data()) == 0 && setresgid(user, user, user) == 0 &&
      setresuid(user, user, user) == 0) {
    Limit(RLIMIT_NPROC, limits::kMaxThreads);  // the kernel counts by user, so a shared user cannot be limited
    return true;
  }
  *error = Failed("another user");
  return false;
}

bool DropCapabilities(std::string* error) {
  DropBoundingSet();  // a user namespace has brought a full one
  struct {
    uint32_t version = 0x20080522;  // _LINUX_CAPABILITY_VERSION_3
    int pid = 0;
  } header;
  const std::array<uint32_t, 6> none{};
  if (syscall(SYS_capset, &header, none.data()) == 0) return true;
  *error = Failed("capabilities");
  return false;
}

// A Landlock ruleset that allows nothing at first. Used by one thread.
class Landlock {
 public:
  explicit Landlock(int version) {
    rules_.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;  // what version 1 knows: all but renaming across
    if (version >= 2) rules_.handled_access_fs |= uint64_t{1} << 13;
    if (version >= 3) rules_.handled_access_fs |= uint64_t{1} << 14;
    set_ = Descriptor(static_cast<int>(syscall(SYS_landlock_create_ruleset, &rules_, sizeof(rules_), 0)));
  }

  void Allow(const fs::path& path, uint64_t access) {
    const Descriptor place(open(path.c_str(), O_PATH | O_CLOEXEC));
    struct stat status {};
    if (!place.valid() || fstat(place.get(), &status) != 0) return;
    if (!S_ISDIR(status.st_mode)) access &= ~uint64_t{LANDLOCK_ACCESS_FS_READ_DIR};
    const landlock_path_beneath_attr rule{access & rules_.handled_access_fs, place.get()};
    syscall(SYS_landlock_add_rule, set_.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
  }
  bool Enforce() { return set_.valid() && syscall(SYS_landlock_restrict_self, set_.get(), 0) == 0; }

 private:
  landlock_ruleset_attr rules_{};
  Descriptor set_;
};

constexpr uint64_t kRead = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;

// Allows reading around each of `paths`: a manifest may name its library relative to itself, in ../lib as well as beside it.
void AllowAround(Landlock* landlock, std::string_view paths) {
  while (!paths.empty()) {
    const size_t end = std::min(paths.find(':'), paths.size());
    std::error_code ignored;
    fs::path path = fs::weakly_canonical(paths.substr(0, end), ignored);
    if (!path.empty() && !fs::is_directory(path, ignored)) path = path.parent_path();
    if (path.has_parent_path() && path.parent_path() != path.root_path()) landlock->Allow(path.parent_path(), kRead);
    if (path != path.root_path()) landlock->Allow(path, kRead);
    paths.remove_prefix(std::min(end + 1, paths.size()));
  }
}

// Needs no privileges, but no_new_privs must be set.
bool HideFiles(std::string* error) {
  const long version = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (version < 1) {
    *error = Failed("Landlock");
    return false;
  }
  Landlock landlock(static_cast<int>(version));
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/", ignored)) {
    const std::string path = entry.path();
    if (std::find(kHidden.begin(), kHidden.end(), path) == kHidden.end()) landlock.Allow(path, kRead);
  }
  for (const std::string_view path : kReadable) landlock.Allow(path, kRead);
  for (const auto& entry : fs::directory_iterator("/dev", ignored)) {
    if (IsGpu(entry.path())) landlock.Allow(entry.path(), kRead | LANDLOCK_ACCESS_FS_WRITE_FILE);
  }
  for (const char* device : {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}) {
    landlock.Allow(device, kRead | LANDLOCK_ACCESS_FS_WRITE_FILE);
  }
  for (const char* variable : kPathVariables) {
    if (const char* value = std::getenv(variable); value != nullptr) AllowAround(&landlock, value);
  }
  AllowAround(&landlock, fs::read_symlink("/proc/self/exe", ignored).string());
  if (landlock.Enforce()) return true;
  *error = Failed("Landlock");
  return false;
}

}  // namespace

std::optional<Sandbox> SandboxOf(std::string_view name) {
  const auto* const found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<Sandbox>(found - kNames.begin());
}

std::string_view NameOf(Sandbox sandbox) { return kNames[static_cast<size_t>(sandbox)]; }

bool SandboxWorks() { return !kSanitized; }

bool EnterSandbox(Sandbox sandbox, uint32_t user, int keep, std::string* error) {
  WriteTo("/proc/self/oom_score_adj", std::to_string(limits::kOomScore));
  CloseOthers(keep);
  Limit(RLIMIT_NOFILE, limits::kMaxDescriptors);
  if (sandbox == Sandbox::kOff || !SandboxWorks()) return true;
  Limit(RLIMIT_CORE, 0);
  const pid_t parent = getppid();
  const bool own = LeaveNamespaces(0, error);
  DropBoundingSet();  // BecomeUser() takes the right to do so
  if (!BecomeUser(user, error)) return false;
  prctl(PR_SET_DUMPABLE, 1);  // otherwise root owns /proc/self, and the maps of a user namespace cannot be written
  if (!own && LeaveNamespaces(CLONE_NEWUSER, error)) error->clear();
  if (!DropCapabilities(error)) return false;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    *error = Failed("no_new_privs");
    return false;
  }
  if (sandbox == Sandbox::kStrict && !HideFiles(error)) return false;
  // Set last, because a change of user resets both.
  prctl(PR_SET_DUMPABLE, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  return true;
}

bool SealSandbox(Sandbox sandbox, std::string* error) {
  if (sandbox == Sandbox::kOff || !SandboxWorks()) return true;
  return FilterSystemCalls(sandbox, error);
}

}  // namespace vesper::server
