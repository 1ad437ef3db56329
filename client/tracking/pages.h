// What trackers are made of: anonymous pages, and access to memory that the application may be writing.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <span>

#ifdef __SANITIZE_THREAD__
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif

namespace vesper::client {

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
  SharedWithApplication() {}  // NOLINT(modernize-use-equals-default): so that objects of it count as used
#endif
  SharedWithApplication(const SharedWithApplication&) = delete;
  SharedWithApplication& operator=(const SharedWithApplication&) = delete;
};

// An anonymous mapping of zeros that ends with the object, or memory of somebody else.
class Pages {
 public:
  explicit Pages(std::span<uint8_t> foreign) : size_(foreign.size()), bytes_(foreign.data()), owned_(false) {}
  explicit Pages(size_t size)
      : size_(size),
        bytes_(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  ~Pages() {
    if (owned_ && valid()) munmap(bytes_, size_);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  bool valid() const { return bytes_ != MAP_FAILED; }
  uint8_t* data() const { return static_cast<uint8_t*>(bytes_); }
  size_t size() const { return size_; }

 private:
  const size_t size_;
  void* const bytes_;
  const bool owned_ = true;
};

}  // namespace vesper::client
