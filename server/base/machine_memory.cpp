#include "server/base/machine_memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace vesper::server {
namespace {

constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();

uint64_t NumberIn(const std::string& path, uint64_t otherwise) {
  std::ifstream file(path);
  uint64_t number = 0;
  return file >> number ? number : otherwise;
}

// Calls `visit` with the limit and the use of this process's control group and of every group around it. A process that sees
// groups from within its own has the root alone.
template <typename Visit>
void ForEachGroup(Visit visit) {
  std::string path;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (line.starts_with("0::/")) path = line.substr(3);
  }
  while (true) {
    const std::string folder = "/sys/fs/cgroup" + path;
    visit(NumberIn(folder + "/memory.max", kUnlimited), NumberIn(folder + "/memory.current", 0));
    if (path.empty()) return;
    path.resize(path.rfind('/'));
  }
}

}  // namespace

uint64_t MachineMemory() {
  const auto pages = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES));
  uint64_t memory = pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  ForEachGroup([&](uint64_t limit, uint64_t) { memory = std::min(memory, limit); });
  return memory;
}

uint64_t AvailableMemory() {
  uint64_t available = kUnlimited;
  std::ifstream file("/proc/meminfo");
  for (std::string word; file >> word;) {
    if (word != "MemAvailable:") continue;
    if (file >> available) available *= 1024;
    break;
  }
  ForEachGroup([&](uint64_t limit, uint64_t used) {
    if (limit != kUnlimited) available = std::min(available, limit - std::min(limit, used));
  });
  return available;
}

}  // namespace vesper::server
