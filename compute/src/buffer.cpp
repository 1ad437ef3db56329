#include "vesper/compute/buffer.h"

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "compute/src/buffer_state.h"
#include "compute/src/check.h"
#include "compute/src/device_state.h"

namespace vesper::compute {
namespace {

constexpr uint64_t kSmallestPiece = uint64_t{1} << 20;

// A region of the staging ring: given back unless the device has it.
class HeldRegion {
 public:
  HeldRegion(StagingRing* ring, const StagingRing::Region& region) : ring_(ring), region_(region) {}
  ~HeldRegion() {
    if (ring_ != nullptr) ring_->Release(region_);
  }
  HeldRegion(const HeldRegion&) = delete;
  HeldRegion& operator=(const HeldRegion&) = delete;

  const StagingRing::Region& get() const { return region_; }
  void Submitted(Queue* queue, uint64_t value) { std::exchange(ring_, nullptr)->Submitted(region_, queue, value); }

 private:
  StagingRing* ring_;
  const StagingRing::Region region_;
};

// So small that host and device work at the same time.
uint64_t PieceBytes(uint64_t largest, uint64_t bytes) { return std::min(largest, std::max(kSmallestPiece, bytes / 8)); }

// The first copy of several is ordered behind what was submitted before, and with it the others.
enum class Place { kFirst, kLater };

uint64_t SubmitUpload(DeviceState* device, const std::shared_ptr<BufferState>& buffer, uint64_t offset,
                      const StagingRing::Region& region, Place place) {
  Recording recording(device, &device->transfer());
  if (place == Place::kFirst) FullBarrier(recording.commands());
  const VkBufferCopy copy{region.offset, offset, region.bytes};
  vkCmdCopyBuffer(recording.commands(), device->staging().buffer(), buffer->handle(), 1, &copy);
  Work work;
  work.what = "upload of " + std::to_string(region.bytes) + " bytes";
  work.accesses.push_back({buffer, true});
  return recording.Submit(std::move(work));
}

uint64_t SubmitDownload(DeviceState* device, const std::shared_ptr<BufferState>& buffer, uint64_t offset,
                        uint64_t bytes, VkBuffer to, Place place) {
  Recording recording(device, &device->transfer());
  if (place == Place::kFirst) FullBarrier(recording.commands());
  const VkBufferCopy copy{offset, 0, bytes};
  vkCmdCopyBuffer(recording.commands(), buffer->handle(), to, 1, &copy);
  HostBarrier(recording.commands());
  Work work;
  work.what = "download of " + std::to_string(bytes) + " bytes";
  work.accesses.push_back({buffer, false});
  return recording.Submit(std::move(work));
}

uint64_t StreamUp(DeviceState* device, const std::shared_ptr<BufferState>& buffer, const std::byte* from,
                  uint64_t bytes, uint64_t offset) {
  StagingRing& ring = device->staging();
  const uint64_t piece = PieceBytes(ring.piece_bytes() / 2, bytes);
  uint64_t value = 0;
  for (uint64_t done = 0; done < bytes;) {
    const uint64_t now = std::min(piece, bytes - done);
    HeldRegion region(&ring, ring.Reserve(now, device->options().timeout));
    device->copy_threads().Copy(region.get().data, from + done, now);
    value = SubmitUpload(device, buffer, offset + done, region.get(), done == 0 ? Place::kFirst : Place::kLater);
    region.Submitted(&device->transfer(), value);
    done += now;
  }
  return value;
}

// A download, in pieces that the device has been told to copy, oldest first.
class StreamDown {
 public:
  StreamDown(DeviceState* device, std::shared_ptr<BufferState> buffer)
      : device_(device), buffer_(std::move(buffer)), slots_(device->download_slots()) {}
  ~StreamDown() {
    // After an error the device may still write to them.
    for (const Piece& piece : pieces_) slots_.Return(piece.slot, &device_->transfer(), piece.value);
    for (DownloadSlots::Slot* slot : spare_) slots_.Return(slot);
  }
  StreamDown(const StreamDown&) = delete;
  StreamDown& operator=(const StreamDown&) = delete;

  void Run(std::byte* to, uint64_t bytes, uint64_t offset) {
    const uint64_t size = PieceBytes(slots_.slot_bytes(), bytes);
    for (uint64_t asked = 0; asked < bytes;) {
      const uint64_t now = std::min(size, bytes - asked);
      if (HasSlot()) {
        Ask(to + asked, now, offset + asked);
        asked += now;
      } else {
        Finish();
      }
    }
    while (!pieces_.empty()) Finish();
  }

 private:
  struct Piece {
    DownloadSlots::Slot* slot;
    uint64_t value;
    std::byte* to;
    uint64_t bytes;
  };

  bool HasSlot() {
    if (!spare_.empty()) return true;
    DownloadSlots::Slot* const slot = slots_.Take(pieces_.empty(), device_->options().timeout);
    if (slot != nullptr) spare_.push_back(slot);
    return slot != nullptr;
  }

  void Ask(std::byte* to, uint64_t bytes, uint64_t offset) {
    DownloadSlots::Slot* const slot = spare_.back();
    const uint64_t value = SubmitDownload(device_, buffer_, offset, bytes, slot->buffer, place_);
    place_ = Place::kLater;
    spare_.pop_back();
    pieces_.push_back({slot, value, to, bytes});
    // The first piece is the largest.
    if (!slot->host) slot->host.emplace(slot->memory, 0, bytes);
  }

  void Finish() {
    const Piece piece = pieces_.front();
    device_->Wait(device_->transfer(), piece.value, device_->options().timeout, "a download");
    device_->copy_threads().Copy(piece.to, piece.slot->host->data(), piece.bytes);
    pieces_.pop_front();
    if (slots_.IsAwaited()) {
      slots_.Return(piece.slot);
    } else {
      spare_.push_back(piece.slot);
    }
  }

  DeviceState* const device_;
  const std::shared_ptr<BufferState> buffer_;
  DownloadSlots& slots_;
  std::deque<Piece> pieces_;
  std::vector<DownloadSlots::Slot*> spare_;  // taken, with nothing under way
  Place place_ = Place::kFirst;
};

void CheckRange(const char* attempted, uint64_t bytes, uint64_t offset, uint64_t size) {
  if (bytes <= size && offset <= size - bytes) return;
  throw Error(ErrorCode::BufferTooSmall, std::string(attempted) + " " + std::to_string(bytes) + " bytes at offset " +
                                             std::to_string(offset) + " of a buffer of " + std::to_string(size) +
                                             " bytes");
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
                "creating a buffer of " + std::to_string(bytes) + " bytes, where the device has " + "at most " +
                    std::to_string(device->max_buffer_bytes()),
                VK_ERROR_OUT_OF_DEVICE_MEMORY);
  }
  Check(vkCreateBuffer(device->handle(), &info, nullptr, &handle_), ErrorCode::AllocationFailed, "creating a buffer");
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
  MemoryKind kind = access == HostAccess::kMapped ? MemoryKind::kMapped : MemoryKind::kHost;
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
  is_visible_ = kind != MemoryKind::kDevice;
  is_cached_ = allocator.is_cached(type);
  BindBuffer(memory_, handle_);
}

BufferState::~BufferState() {
  vkDestroyBuffer(device_->handle(), handle_, nullptr);
  device_->allocator().Free(memory_);
}

Buffer::Buffer(const Device& device, uint64_t bytes, const BufferOptions& options)
    : device_(device.state()), state_(std::make_shared<BufferState>(device_.get(), bytes, options)) {}
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
bool Buffer::is_mapped() const { return state_->memory().mapped != nullptr; }

void* Buffer::mapped() const {
  if (!is_mapped()) throw Error(ErrorCode::NotMapped, "asking for the host address of a buffer that is not mapped");
  return state_->memory().mapped;
}

void Buffer::WaitForHost(std::chrono::nanoseconds timeout) const { device_->WaitForUses(*state_, false, timeout); }

Submission Buffer::Upload(const void* data, uint64_t bytes, uint64_t offset) {
  CheckRange("uploading", bytes, offset, size());
  if (bytes == 0) return {};
  CheckHost("uploading", data);
  if (state_->is_visible()) {
    WaitForHost(device_->options().timeout);
    const HostRange host(state_->memory(), offset, bytes);
    device_->copy_threads().Copy(host.data(), data, bytes);
    return {};
  }
  const uint64_t value = StreamUp(device_.get(), state_, static_cast<const std::byte*>(data), bytes, offset);
  return Submission(device_, &device_->transfer(), value, "upload of " + std::to_string(bytes) + " bytes");
}

void Buffer::Download(void* data, uint64_t bytes, uint64_t offset) const {
  CheckRange("downloading", bytes, offset, size());
  if (bytes == 0) return;
  CheckHost("downloading", data);
  if (state_->is_visible() && state_->is_cached()) {
    device_->WaitForUses(*state_, true, device_->options().timeout);
    const HostRange host(state_->memory(), offset, bytes);
    device_->copy_threads().Copy(data, host.data(), bytes);
    return;
  }
  StreamDown(device_.get(), state_).Run(static_cast<std::byte*>(data), bytes, offset);
}

}  // namespace vesper::compute
