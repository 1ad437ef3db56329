#include "server/pipelines/pipeline_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <new>

#include "server/base/limits.h"

namespace vesper::server {
namespace {

constexpr uint64_t kMagic = 0x31656e6970736556;  // "Vespine1"
constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

struct Head {
  uint64_t magic = kMagic;
  PipelineKey key{};
  uint32_t reserved = 0;
  uint64_t bytes = 0, hash = 0;  // of the data, which follow
};

bool WriteAll(int file, const void* from, size_t bytes) {
  const auto* at = static_cast<const uint8_t*>(from);
  while (bytes != 0) {
    const ssize_t written = write(file, at, bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    at += written;
    bytes -= static_cast<size_t>(written);
  }
  return true;
}

bool ReadAll(int file, void* to, size_t bytes, size_t offset) {
  auto* at = static_cast<uint8_t*>(to);
  while (bytes != 0) {
    const ssize_t count = pread(file, at, bytes, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    at += count;
    offset += static_cast<size_t>(count);
    bytes -= static_cast<size_t>(count);
  }
  return true;
}

std::optional<size_t> SizeOf(const Descriptor& file) {
  struct stat status {};
  if (!file.valid() || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  const auto size = static_cast<uint64_t>(status.st_size);
  if (size < sizeof(Head) || size > sizeof(Head) + limits::kMaxPipelineFile) return std::nullopt;
  return size;
}

}  // namespace

Descriptor MakePipelineFile(const PipelineKey& key, std::span<const uint8_t> data) {
  if (data.size() > limits::kMaxPipelineFile) return {};
  Descriptor file(memfd_create("vesper-pipelines", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file.valid()) return {};
  Head head;
  head.key = key;
  head.bytes = data.size();
  head.hash = XXH3_64bits(data.data(), data.size());
  if (!WriteAll(file.get(), &head, sizeof(head)) || !WriteAll(file.get(), data.data(), data.size())) return {};
  if (fcntl(file.get(), F_ADD_SEALS, kSeals) != 0) return {};
  return file;
}

bool IsPipelineFile(const Descriptor& file) {
  return SizeOf(file).has_value() && (fcntl(file.get(), F_GET_SEALS) & kSeals) == kSeals;
}

std::optional<std::vector<uint8_t>> ReadPipelineFile(const Descriptor& file, const PipelineKey& key) {
  const std::optional<size_t> size = SizeOf(file);
  Head head;
  if (!size || !ReadAll(file.get(), &head, sizeof(head), 0)) return std::nullopt;
  if (head.magic != kMagic || head.key != key || head.bytes != *size - sizeof(head)) return std::nullopt;
  try {
    std::vector<uint8_t> data(head.bytes);
    if (!ReadAll(file.get(), data.data(), data.size(), sizeof(head))) return std::nullopt;
    if (XXH3_64bits(data.data(), data.size()) != head.hash) return std::nullopt;
    return data;
  } catch (const std::bad_alloc&) {
    return std::nullopt;
  }
}

}  // namespace vesper::server
