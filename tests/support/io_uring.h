// As much of io_uring as tests of mapped memory need, by raw system calls: one operation at a time, waited for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace vesper::test {

class IoUring {
 public:
  IoUring();
  ~IoUring();
  IoUring(const IoUring&) = delete;
  IoUring& operator=(const IoUring&) = delete;

  // False where the kernel or the container denies it: error() says how.
  bool ok() const { return ring_ >= 0 && sqes_ != nullptr; }
  const std::string& error() const { return error_; }

  // Pins memory as fixed buffer 0.
  bool RegisterBuffer(void* begin, size_t size);
  // Reads `size` bytes from the beginning of a file into registered, or any, memory. The result of the operation.
  int ReadFixed(int file, void* to, uint32_t size) { return Run(kReadFixed, file, to, size); }
  int Read(int file, void* to, uint32_t size) { return Run(kRead, file, to, size); }
  // Starts a read that is not waited for; Wait() gives its result.
  void Start(int file, void* to, uint32_t size) { Submit(kRead, file, to, size); }
  int Wait();

 private:
  static constexpr uint8_t kReadFixed = 4;
  static constexpr uint8_t kRead = 22;
  void Fail(const char* what);
  void Submit(uint8_t operation, int file, void* to, uint32_t size);
  int Run(uint8_t operation, int file, void* to, uint32_t size);

  int ring_ = -1;
  std::string error_;
  uint8_t* queues_ = nullptr;
  size_t queues_size_ = 0;
  void* sqes_ = nullptr;
  size_t sqes_size_ = 0;
  uint32_t sq_tail_ = 0;  // offsets in queues_
  uint32_t sq_array_ = 0;
  uint32_t cq_head_ = 0;
  uint32_t cq_tail_ = 0;
  uint32_t cqes_ = 0;
  uint32_t mask_ = 0;
  uint32_t cq_mask_ = 0;
};

}  // namespace vesper::test
