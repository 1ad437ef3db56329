#include "vesper/compute/buffer.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <utility>

#include "compute/src/buffer_state.h"
#include "compute/src/check.h"
#include "compute/src/device_state.h"

namespace vesper::compute {
namespace {

constexpr uint64_t kSmallestPiece = uint64_t{1} << 20;
// Of a download: one is copied out by the CPU while the device fills the others.
constexpr size_t kPiecesInFlight = 4;

// A region of the staging ring: given back unless the device has it.
class HeldRegion {
 public:
  HeldRegion(StagingRing* ring, const StagingRing::Region& region) : ring_(ring), region_(region) {}
  ~HeldRegion() {
    if (ring_ != nullptr) ring_->Release(region_);
  }
  HeldRegion(HeldRegion&& other) noexcept
      : ring_(std::exchange(other.ring_, nullptr)), region_(other.region_) {}
  HeldRegion& operator=(HeldRegion&&) = delete;

  const StagingRing::Region& get() const { return region_; }
  // Somebody else gives it back.
  void Keep() { ring_ = nullptr; }
  void Submitted(Queue* queue, uint64_t value) {
    std::exchange(ring_, nullptr)->Submitted(region_, queue, value);
  }

 private:
  StagingRing* ring_;
  const StagingRing::Region region_;
};

uint64_t PieceBytes(const StagingRing& ring, uint64_t bytes) {
  return std::min(ring.piece_bytes() / 2, std::max(kSmallestPiece, bytes / 8));
}

enum class Direction { kUpload, kDownload };

// Submits one copy between ring and buffer. `first`: it is ordered behind what was submitted
// before, and with it the pieces that follow.
uint64_t SubmitCopy(DeviceState* device, const std::shared_ptr<BufferState>& buffer,
                    uint64_t offset, const StagingRing::Region& region, Direction direction,
                    bool first) {
  Recording recording(device, &device->transfer());
  if (first) FullBarrier(recording.commands());
  Work work;
  if (direction == Direction::kUpload) {
    const VkBufferCopy copy{region.offset, offset, region.bytes};
    vkCmdCopyBuffer(recording.commands(), device->staging().buffer(), buffer->handle(), 1, &copy);
    work.what = "upload";
  } else {
    const VkBufferCopy copy{offset, region.offset, region.bytes};
    vkCmdCopyBuffer(recording.commands(), buffer->handle(), device->staging().buffer(), 1, &copy);
    HostBarrier(recording.commands());
    work.what = "download";
  }
  work.what += " of " + std::to_string(region.bytes) + " bytes";
  work.accesses.push_back({buffer, direction == Direction::kUpload});
  return recording.Submit(std::move(work));
}

uint64_t StreamUp(DeviceState* device, const std::shared_ptr<BufferState>& buffer,
                  const std::byte* from, uint64_t bytes, uint64_t offset) {
  StagingRing& ring = device->staging();
  const uint64_t piece = PieceBytes(ring, bytes);
  uint64_t value = 0;
  for (uint64_t done = 0; done < bytes;) {
    const uint64_t now = std::min(piece, bytes - done);
    HeldRegion region(&ring, *ring.Reserve(now, true, device->options().timeout));
    std::memcpy(region.get().data, from + done, now);
    value = SubmitCopy(device, buffer, offset + done, region.get(), Direction::kUpload, done == 0);
    region.Submitted(&device->transfer(), value);
    done += now;
  }
  return value;
}

// Pieces of a download that the device has been told to copy, oldest first.
class StreamDown {
 public:
  StreamDown(DeviceState* device, std::shared_ptr<BufferState> buffer)
      : device_(device), buffer_(std::move(buffer)), ring_(device->staging()) {}
  ~StreamDown() {
    // After an error the device may still write to them.
    for (const Piece& piece : pieces_) {
      ring_.Submitted(piece.region, &device_->transfer(), piece.value);
    }
  }
  StreamDown(const StreamDown&) = delete;
  StreamDown& operator=(const StreamDown&) = delete;

  void Run(std::byte* to, uint64_t bytes, uint64_t offset) {
    const uint64_t size = PieceBytes(ring_, bytes);
    for (uint64_t asked = 0; asked < bytes;) {
      const uint64_t now = std::min(size, bytes - asked);
      const bool room = pieces_.size() < kPiecesInFlight && Ask(to + asked, now, offset + asked);
      if (room) {
        asked += now;
      } else {
        Finish();
      }
    }
    while (!pieces_.empty()) Finish();
  }

 private:
  struct Piece {
    StagingRing::Region region;
    uint64_t value;
    std::byte* to;
  };

  bool Ask(std::byte* to, uint64_t bytes, uint64_t offset) {
    const auto reserved = ring_.Reserve(bytes, pieces_.empty(), device_->options().timeout);
    if (!reserved) return false;
    HeldRegion region(&ring_, *reserved);
    pieces_.push_back({*reserved, 0, to});
    try {
      pieces_.back().value =
          SubmitCopy(device_, buffer_, offset, *reserved, Direction::kDownload, first_);
    } catch (...) {
      pieces_.pop_back();
      throw;
    }
    first_ = false;
    region.Keep();
    return true;
  }

  void Finish() {
    const Piece& piece = pieces_.front();
    device_->Wait(device_->transfer(), piece.value, device_->options().timeout, "a download");
    std::memcpy(piece.to, piece.region.data, piece.region.bytes);
    ring_.Release(piece.region);
    pieces_.pop_front();
  }

  DeviceState* const device_;
  const std::shared_ptr<BufferState> buffer_;
  StagingRing& ring_;
  std::deque<Piece> pieces_;
  bool first_ = true;
};

void CheckRange(const char* attempted, uint64_t bytes, uint64_t offset, uint64_t size) {
  if (bytes <= size && offset <= size - bytes) return;
  throw Error(ErrorCode::BufferTooSmall, std::string(attempted) + " " + std::to_string(bytes) +
                                             " bytes at offset " + std::to_string(offset) +
                                             " of a buffer of " + std::to_string(size) + " bytes");
}

void CheckHost(const char* attempted, const void* data) {
  if (data == nullptr) {
    throw Error(ErrorCode::BufferError, std::string(attempted) + " bytes, with a null pointer");
  }
}

}  // namespace

BufferState::BufferState(DeviceState* device, uint64_t bytes, const BufferOptions& options)
    : device_(device),
      bytes_(bytes),
      usage_(options.usage | VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT) {
  if (bytes == 0) throw Error(ErrorCode::BufferError, "creating a buffer of 0 bytes");
  const std::vector<uint32_t>& families = device->families();
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = bytes;
  info.usage = usage_;
  info.sharingMode = families.size() > 1 ? VK_SHARING_MODE_CONCURRENT : VK_SHARING_MODE_EXCLUSIVE;
  info.queueFamilyIndexCount = static_cast<uint32_t>(families.size());
  info.pQueueFamilyIndices = families.data();
  if (bytes > device->max_buffer_bytes()) {
    throw Error(ErrorCode::AllocationFailed,
                "creating a buffer of " + std::to_string(bytes) + " bytes, where the device has " +
                    "at most " + std::to_string(device->max_buffer_bytes()),
                VK_ERROR_OUT_OF_DEVICE_MEMORY);
  }
  Check(vkCreateBuffer(device->handle(), &info, nullptr, &handle_), ErrorCode::AllocationFailed,
        "creating a buffer");
  try {
    Bind(options.host_access);
  } catch (...) {
    if (memory_.block != nullptr) device->allocator().Free(memory_);
    vkDestroyBuffer(device->handle(), handle_, nullptr);
    throw;
  }
}

void BufferState::Bind(HostAccess access) {
  Allocator& allocator = device_->allocator();
  VkMemoryRequirements requirements;
  vkGetBufferMemoryRequirements(device_->handle(), handle_, &requirements);
  uint32_t type = UINT32_MAX;
  MemoryKind kind = MemoryKind::kMapped;
  if (access != HostAccess::kStaged) {
    type = allocator.FindType(requirements.memoryTypeBits, kind, access == HostAccess::kAuto);
  }
  if (type == UINT32_MAX) {
    kind = MemoryKind::kDevice;
    type = allocator.FindType(requirements.memoryTypeBits, kind);
  }
  try {
    memory_ = allocator.Allocate(requirements, type, kind);
  } catch (const Error&) {
    device_->Collect();  // buffers that are freed but were in use
    memory_ = allocator.Allocate(requirements, type, kind);
  }
  is_cached_ = allocator.is_cached(type);
  Check(vkBindBufferMemory(device_->handle(), handle_, memory_.memory, memory_.offset),
        ErrorCode::AllocationFailed, "binding a buffer");
}

BufferState::~BufferState() {
  vkDestroyBuffer(device_->handle(), handle_, nullptr);
  device_->allocator().Free(memory_);
}

Buffer::Buffer(const Device& device, uint64_t bytes, const BufferOptions& options)
    : device_(device.state()),
      state_(std::make_shared<BufferState>(device_.get(), bytes, options)) {}
Buffer::~Buffer() = default;
Buffer::Buffer(Buffer&&) noexcept = default;

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  state_ = std::move(other.state_);  // the old one ends before its device
  device_ = std::move(other.device_);
  return *this;
}

VkBuffer Buffer::handle() const { return state_->handle(); }
uint64_t Buffer::size() const { return state_->bytes(); }
VkBufferUsageFlags Buffer::usage() const { return state_->usage(); }
bool Buffer::is_mapped() const { return state_->mapped() != nullptr; }

void* Buffer::mapped() const {
  if (!is_mapped()) throw Error(ErrorCode::NotMapped, "asking for a staged buffer's host address");
  return state_->mapped();
}

void Buffer::WaitForHost(std::chrono::nanoseconds timeout) const {
  device_->WaitForUses(*state_, false, timeout);
}

Submission Buffer::Upload(const void* data, uint64_t bytes, uint64_t offset) {
  CheckRange("uploading", bytes, offset, size());
  if (bytes == 0) return {};
  CheckHost("uploading", data);
  if (is_mapped()) {
    WaitForHost(device_->options().timeout);
    std::memcpy(static_cast<std::byte*>(state_->mapped()) + offset, data, bytes);
    return {};
  }
  const uint64_t value =
      StreamUp(device_.get(), state_, static_cast<const std::byte*>(data), bytes, offset);
  return Submission(device_, &device_->transfer(), value,
                    "upload of " + std::to_string(bytes) + " bytes");
}

void Buffer::Download(void* data, uint64_t bytes, uint64_t offset) const {
  CheckRange("downloading", bytes, offset, size());
  if (bytes == 0) return;
  CheckHost("downloading", data);
  if (is_mapped() && state_->is_cached()) {
    device_->WaitForUses(*state_, true, device_->options().timeout);
    std::memcpy(data, static_cast<const std::byte*>(state_->mapped()) + offset, bytes);
    return;
  }
  StreamDown(device_.get(), state_).Run(static_cast<std::byte*>(data), bytes, offset);
}

}  // namespace vesper::compute
