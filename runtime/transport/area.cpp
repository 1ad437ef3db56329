// runtime/area.h. What the guest's kernel must find in the file is the label of a device-DAX namespace, as its nvdimm drivers
// read it: with it the device is there by itself.
#include "runtime/area.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/transport/endpoint.h"

namespace vesper {
namespace {

constexpr uint64_t kPage = 4096;
constexpr int kRaces = 1000;  // lost to other processes, before it counts as full

// As the kernel wants it (drivers/nvdimm/pfn.h says what each member is), 4 KiB into the file.
struct DaxLabel {
  static constexpr uint64_t kOffset = 4096;
  std::array<char, 16> signature{"NVDIMM_DAX_INFO"};
  std::array<uint8_t, 16> uuid{0x76, 0x65, 0x73, 0x70, 0x65, 0x72};
  std::array<uint8_t, 16> parent_uuid{};
  uint32_t flags = 0;
  uint16_t version_major = 1;
  uint16_t version_minor = 4;
  uint64_t data_offset = Area::kUnit;
  uint64_t pages = 0;
  uint32_t mode = 1;  // what the kernel notes about pages is in the guest's memory, not here
  uint32_t start_pad = 0;
  uint32_t end_truncated = 0;
  uint32_t alignment = Area::kUnit;
  uint32_t page_size = kPage;
  uint16_t page_struct_size = 64;
  std::array<uint8_t, 3994> padding{};
  uint64_t checksum = 0;
};
static_assert(sizeof(DaxLabel) == kPage);

// Fletcher's, over words of 32 bits, with the checksum itself as zeros.
uint64_t ChecksumOf(const DaxLabel& label) {
  std::array<uint32_t, sizeof(label) / sizeof(uint32_t)> words;
  std::memcpy(words.data(), &label, sizeof(label));
  uint32_t low = 0;
  uint64_t high = 0;
  for (const uint32_t word : words) {
    low += word;
    high += low;
  }
  return high << 32 | low;
}

struct flock LockOf(short type, uint64_t begin, uint64_t bytes) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(begin);
  lock.l_len = static_cast<off_t>(bytes);
  return lock;
}

}  // namespace

std::shared_ptr<Area> Area::OfHost(Descriptor file) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode) ||
      static_cast<uint64_t>(status.st_size) < 3 * kUnit) {
    return nullptr;
  }
  const uint64_t bytes = static_cast<uint64_t>(status.st_size) / kUnit * kUnit - kUnit;
  return std::shared_ptr<Area>(new Area(std::move(file), kUnit, bytes));
}

std::shared_ptr<Area> Area::OfGuest(Descriptor file, uint64_t begin, const AreaLabel& label, std::string* error) {
  if (label.bytes % kUnit != 0 || label.bytes < 2 * kUnit || label.bytes > uint64_t{1} << 46) {
    *error = "what the host says of the memory makes no sense";
    return nullptr;
  }
  std::shared_ptr<Area> area(new Area(std::move(file), begin, label.bytes));
  uint8_t* const first = area->Map({0, kUnit});
  if (first == nullptr) {
    *error = "it cannot be mapped: " + transport::SystemError(errno);
    return nullptr;
  }
  AreaLabel found;
  std::memcpy(&found, first, sizeof(found));
  ::munmap(first, kUnit);
  if (found == label) return area;
  *error = "it is not the memory that belongs to the port";
  return nullptr;
}

bool Area::StepOver(uint64_t* offset, uint64_t bytes) {
  const auto behind = taken_.lower_bound(*offset + bytes);
  if (behind != taken_.begin()) {
    const auto& [at, size] = *std::prev(behind);
    if (at + size > *offset) {
      *offset = at + size;
      return true;
    }
  }
  struct flock lock = LockOf(F_WRLCK, begin_ + *offset, bytes);
  if (::fcntl(file_.get(), F_OFD_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return false;
  const auto end = static_cast<uint64_t>(lock.l_start + lock.l_len);
  *offset = lock.l_len <= 0 || end <= begin_ + *offset ? bytes_ : InUnits(end - begin_);
  return true;
}

std::optional<uint64_t> Area::Take(uint64_t bytes) {
  bytes = InUnits(bytes);
  const MutexLock lock(mutex_);
  int races = 0;
  uint64_t offset = kUnit;  // behind the label
  while (bytes != 0 && bytes <= bytes_ && offset <= bytes_ - bytes && races < kRaces) {
    if (StepOver(&offset, bytes)) continue;
    struct flock mine = LockOf(F_WRLCK, begin_ + offset, bytes);
    if (::fcntl(file_.get(), F_OFD_SETLK, &mine) != 0) {
      if (errno != EAGAIN && errno != EACCES && errno != EINTR) return std::nullopt;
      ++races;  // somebody was quicker
      continue;
    }
    taken_[offset] = bytes;
    if (Empty({offset, bytes})) return offset;
    taken_.erase(offset);
    mine.l_type = F_UNLCK;
    ::fcntl(file_.get(), F_OFD_SETLK, &mine);
    return std::nullopt;
  }
  return std::nullopt;
}

void Area::GiveBack(uint64_t offset, uint64_t bytes) {
  const MutexLock lock(mutex_);
  // What was taken together may come back in parts.
  const auto found = std::prev(taken_.upper_bound(offset));
  const auto [at, size] = *found;
  taken_.erase(found);
  if (at < offset) taken_[at] = offset - at;
  if (at + size > offset + bytes) taken_[offset + bytes] = at + size - offset - bytes;
  struct flock mine = LockOf(F_UNLCK, begin_ + offset, bytes);
  ::fcntl(file_.get(), F_OFD_SETLK, &mine);
}

bool Area::Fill(MemoryPlace place) {
  int failed;
  do {
    failed = ::fallocate(file_.get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(begin_ + place.offset),
                         static_cast<off_t>(place.size));
  } while (failed != 0 && errno == EINTR);
  return failed == 0;
}

bool Area::Empty(MemoryPlace place) {
  return ::fallocate(file_.get(), FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, static_cast<off_t>(begin_ + place.offset),
                     static_cast<off_t>(place.size)) == 0;
}

uint8_t* Area::Map(MemoryPlace place) const {
  if (!Holds(place) || place.offset % kUnit != 0 || place.size % kUnit != 0 || place.size == 0) return nullptr;
  if (!std::in_range<size_t>(place.size)) return nullptr;
  const auto size = static_cast<size_t>(place.size);
  void* mapped =
      ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), static_cast<off_t>(begin_ + place.offset));
  if (mapped == MAP_FAILED) return nullptr;
  if (::madvise(mapped, size, MADV_DONTFORK) == 0) return static_cast<uint8_t*>(mapped);
  ::munmap(mapped, size);
  return nullptr;
}

Descriptor OpenAreaFile(const std::string& path, uint64_t bytes, std::string* error) {
  const auto size = static_cast<off_t>(Area::InUnits(bytes) + Area::kUnit);
  Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  struct stat status {};
  const bool opened = file.valid() && ::fstat(file.get(), &status) == 0;
  if (!opened) {
    *error = path + ": " + transport::SystemError(errno);
    return {};
  }
  if (!S_ISREG(status.st_mode) || status.st_uid != ::geteuid() || (status.st_size != 0 && status.st_size != size)) {
    *error = path + " is another's, or of another size: remove it when no guest uses it";
    return {};
  }
  DaxLabel label;
  label.pages = (static_cast<uint64_t>(size) - Area::kUnit) / kPage;
  label.checksum = ChecksumOf(label);
  if (::ftruncate(file.get(), size) != 0 ||
      ::pwrite(file.get(), &label, sizeof(label), DaxLabel::kOffset) != sizeof(label)) {
    *error = path + ": " + transport::SystemError(errno);
    return {};
  }
  return file;
}

bool WriteLabel(const Descriptor& file, const AreaLabel& label) {
  return ::pwrite(file.get(), &label, sizeof(label), Area::kUnit) == sizeof(label);
}

}  // namespace vesper
