#include "compute/src/pipeline_cache.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <system_error>

#include "compute/src/check.h"
#include "compute/src/log.h"

namespace vesper::compute {
namespace {

struct FileHeader {
  char magic[8];
  uint64_t bytes;
  uint64_t hash;
};
constexpr char kMagic[8] = {'V', 'C', 'P', 'C', '0', '0', '0', '1'};
constexpr uint64_t kMaxBytes = uint64_t{256} << 20;
constexpr int kAttempts = 8;

uint64_t Hash(const std::vector<std::byte>& data) { return XXH3_64bits(data.data(), data.size()); }

// Data of this driver, version and device.
bool IsOfThisDevice(const std::vector<std::byte>& data, const VkPhysicalDeviceProperties& properties) {
  VkPipelineCacheHeaderVersionOne header;
  if (data.size() < sizeof header) return false;
  std::memcpy(&header, data.data(), sizeof header);
  return header.headerSize >= sizeof header && header.headerSize <= data.size() &&
         header.headerVersion == VK_PIPELINE_CACHE_HEADER_VERSION_ONE && header.vendorID == properties.vendorID &&
         header.deviceID == properties.deviceID &&
         std::memcmp(header.pipelineCacheUUID, properties.pipelineCacheUUID, VK_UUID_SIZE) == 0;
}

bool WriteAll(int fd, const void* data, size_t bytes) {
  const char* from = static_cast<const char*>(data);
  while (bytes != 0) {
    const ssize_t written = write(fd, from, bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    from += written;
    bytes -= static_cast<size_t>(written);
  }
  return true;
}

// A new file beside `file`, complete before it takes its name.
bool Replace(const std::filesystem::path& file, const std::vector<std::byte>& data) {
  std::error_code error;
  if (std::filesystem::create_directories(file.parent_path(), error)) {
    std::filesystem::permissions(file.parent_path(), std::filesystem::perms::owner_all, error);
  }
  std::string name = file.string() + ".XXXXXX";
  const int fd = mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) return false;
  FileHeader header = {};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.bytes = data.size();
  header.hash = Hash(data);
  const bool written = WriteAll(fd, &header, sizeof header) && WriteAll(fd, data.data(), data.size()) && fsync(fd) == 0;
  close(fd);
  if (written && rename(name.c_str(), file.c_str()) == 0) return true;
  unlink(name.c_str());
  return false;
}

}  // namespace

PipelineCache::PipelineCache(VkDevice device, const VkPhysicalDeviceProperties& properties, std::filesystem::path file)
    : device_(device), file_(std::move(file)) {
  const std::vector<std::byte> data = Load(properties);
  VkPipelineCacheCreateInfo info{VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
  info.initialDataSize = data.size();
  info.pInitialData = data.data();
  Check(vkCreatePipelineCache(device, &info, nullptr, &handle_), ErrorCode::InitializationFailed,
        "creating the pipeline cache");
}

PipelineCache::~PipelineCache() { vkDestroyPipelineCache(device_, handle_, nullptr); }

std::vector<std::byte> PipelineCache::Load(const VkPhysicalDeviceProperties& properties) {
  if (file_.empty()) return {};
  std::ifstream stream(file_, std::ios::binary);
  if (!stream) return {};
  FileHeader header;
  std::vector<std::byte> data;
  const bool headed = stream.read(reinterpret_cast<char*>(&header), sizeof header) &&
                      std::memcmp(header.magic, kMagic, sizeof kMagic) == 0 && header.bytes <= kMaxBytes;
  if (headed) {
    data.resize(header.bytes);
    stream.read(reinterpret_cast<char*>(data.data()), static_cast<std::streamsize>(header.bytes));
  }
  if (!headed || !stream || Hash(data) != header.hash || !IsOfThisDevice(data, properties)) {
    Log(LogLevel::kInfo, "ignoring " + file_.string() + ", which is broken or another driver's");
    return {};
  }
  saved_hash_ = header.hash;
  return data;
}

// The cache may grow between asking for its size and for its contents: other threads make
// pipelines, and drivers finish some in the background.
std::vector<std::byte> PipelineCache::Data() const {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    size_t bytes = 0;
    if (vkGetPipelineCacheData(device_, handle_, &bytes, nullptr) != VK_SUCCESS) break;
    if (bytes > kMaxBytes) break;
    std::vector<std::byte> data(bytes);
    const VkResult result = vkGetPipelineCacheData(device_, handle_, &bytes, data.data());
    data.resize(bytes);
    if (result == VK_SUCCESS) return data;
    if (result != VK_INCOMPLETE) break;
  }
  return {};
}

void PipelineCache::Save() {
  if (file_.empty() || !touched_.exchange(false)) return;
  const std::lock_guard lock(mutex_);
  const std::vector<std::byte> data = Data();
  if (data.empty() || Hash(data) == saved_hash_) return;
  if (Replace(file_, data)) {
    saved_hash_ = Hash(data);
  } else {
    Log(LogLevel::kWarning, "cannot write " + file_.string() + ": " + std::generic_category().message(errno));
  }
}

}  // namespace vesper::compute
