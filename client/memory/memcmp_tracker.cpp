#include "client/memory/memcmp_tracker.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

#ifdef __SANITIZE_THREAD__
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif

namespace vesper::client {
namespace {

// While one lives, the shadow is accessed though the application may be writing it: that race belongs to coherent memory.
class SharedWithApplication {
 public:
#ifdef __SANITIZE_THREAD__
  SharedWithApplication() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~SharedWithApplication() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
#else
  SharedWithApplication() {}
#endif
  SharedWithApplication(const SharedWithApplication&) = delete;
  SharedWithApplication& operator=(const SharedWithApplication&) = delete;
};

constexpr uint64_t kBlock = 4096;
constexpr size_t kWord = sizeof(uint64_t);

// An anonymous mapping that ends with the object.
class Pages {
 public:
  explicit Pages(size_t size)
      : size_(size), bytes_(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  ~Pages() {
    if (valid()) munmap(bytes_, size_);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  bool valid() const { return bytes_ != MAP_FAILED; }
  uint8_t* data() const { return static_cast<uint8_t*>(bytes_); }

 private:
  const size_t size_;
  void* const bytes_;
};

// Where the first difference from `at` on lies, or `size`.
size_t Differs(const uint8_t* a, const uint8_t* b, size_t at, size_t size) {
  while (at + kWord <= size && std::memcmp(a + at, b + at, kWord) == 0) at += kWord;
  while (at < size && a[at] == b[at]) ++at;
  return at;
}

size_t Agrees(const uint8_t* a, const uint8_t* b, size_t at, size_t size) {
  while (at < size && a[at] != b[at]) ++at;
  return at;
}

class MemcmpTracker final : public Tracker {
 public:
  explicit MemcmpTracker(uint64_t size)
      : size_(size), shadow_(static_cast<size_t>(size)), twin_(static_cast<size_t>(size)) {}
  bool valid() const { return shadow_.valid() && twin_.valid(); }

  uint8_t* shadow() override { return shadow_.data(); }
  uint64_t size() const override { return size_; }

  void Collect(uint64_t offset, uint64_t size, RunSink sink) override {
    if (offset >= size_) return;
    const uint64_t end = offset + std::min(size, size_ - offset);
    while (offset < end) {
      const uint64_t length = std::min(end, (offset / kBlock + 1) * kBlock) - offset;
      CollectBlock(offset, static_cast<size_t>(length), sink);
      offset += length;
    }
  }

  bool Apply(uint64_t offset, std::span<const uint8_t> bytes) override {
    if (offset > size_ || bytes.size() > size_ - offset) return false;
    const SharedWithApplication shared;
    std::memcpy(shadow_.data() + offset, bytes.data(), bytes.size());
    std::memcpy(twin_.data() + offset, bytes.data(), bytes.size());
    return true;
  }

 private:
  void CollectBlock(uint64_t offset, size_t length, RunSink sink) {
    uint8_t* twin = twin_.data() + offset;
    // The application may write on: each byte is read once, and that reading is compared, sent and remembered.
    std::array<uint8_t, kBlock> seen;
    {
      const SharedWithApplication shared;
      if (std::memcmp(shadow_.data() + offset, twin, length) == 0) return;
      std::memcpy(seen.data(), shadow_.data() + offset, length);
    }
    size_t at = Differs(seen.data(), twin, 0, length);
    while (at < length) {
      const size_t run_end = Agrees(seen.data(), twin, at, length);
      std::memcpy(twin + at, seen.data() + at, run_end - at);
      sink(offset + at, std::span(seen).subspan(at, run_end - at));
      at = Differs(seen.data(), twin, run_end, length);
    }
  }

  const uint64_t size_;
  const Pages shadow_;
  const Pages twin_;
};

}  // namespace

std::unique_ptr<Tracker> MakeMemcmpTracker(uint64_t size) noexcept {
  if (size == 0 || size > SIZE_MAX) return nullptr;
  std::unique_ptr<MemcmpTracker> made(new (std::nothrow) MemcmpTracker(size));
  if (made == nullptr || !made->valid()) return nullptr;
  return made;
}

// TODO(memory): probe for userfaultfd write-protection and hashing, as VESPER_MEMORY asks.
std::unique_ptr<Tracker> MakeTracker(uint64_t size) noexcept { return MakeMemcmpTracker(size); }

}  // namespace vesper::client
