#include "tests/support/io_uring.h"

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

namespace vesper::test {

IoUring::IoUring() {
  io_uring_params params{};
  ring_ = static_cast<int>(syscall(SYS_io_uring_setup, 4, &params));
  if (ring_ < 0) {
    Fail("io_uring_setup");
    return;
  }
  if ((params.features & IORING_FEAT_SINGLE_MMAP) == 0) {
    Fail("this io_uring is too old");
    return;
  }
  queues_size_ = std::max<size_t>(params.sq_off.array + params.sq_entries * sizeof(uint32_t),
                                  params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe));
  void* queues =
      mmap(nullptr, queues_size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring_, IORING_OFF_SQ_RING);
  if (queues == MAP_FAILED) {
    Fail("mapping the queues");
    return;
  }
  queues_ = static_cast<uint8_t*>(queues);
  sqes_size_ = params.sq_entries * sizeof(io_uring_sqe);
  void* sqes = mmap(nullptr, sqes_size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring_, IORING_OFF_SQES);
  if (sqes == MAP_FAILED) {
    Fail("mapping the entries");
    return;
  }
  sqes_ = sqes;
  sq_tail_ = params.sq_off.tail;
  sq_array_ = params.sq_off.array;
  cq_head_ = params.cq_off.head;
  cq_tail_ = params.cq_off.tail;
  cqes_ = params.cq_off.cqes;
  mask_ = params.sq_entries - 1;
  cq_mask_ = params.cq_entries - 1;
}

IoUring::~IoUring() {
  if (sqes_ != nullptr) munmap(sqes_, sqes_size_);
  if (queues_ != nullptr) munmap(queues_, queues_size_);
  if (ring_ >= 0) close(ring_);
}

void IoUring::Fail(const char* what) { error_ = std::string(what) + ": " + std::strerror(errno); }

bool IoUring::RegisterBuffer(void* begin, size_t size) {
  iovec buffer{begin, size};
  if (syscall(SYS_io_uring_register, ring_, IORING_REGISTER_BUFFERS, &buffer, 1) == 0) return true;
  Fail("io_uring_register");
  return false;
}

void IoUring::Submit(uint8_t operation, int file, void* to, uint32_t size) {
  std::atomic_ref tail(*reinterpret_cast<uint32_t*>(queues_ + sq_tail_));
  const uint32_t at = tail.load() & mask_;
  auto* entry = static_cast<io_uring_sqe*>(sqes_) + at;
  std::memset(entry, 0, sizeof(*entry));
  entry->opcode = operation;
  entry->fd = file;
  entry->addr = reinterpret_cast<uintptr_t>(to);
  entry->len = size;
  reinterpret_cast<uint32_t*>(queues_ + sq_array_)[at] = at;
  tail.fetch_add(1);
  if (syscall(SYS_io_uring_enter, ring_, 1, 0, 0, nullptr, 0) != 1) Fail("io_uring_enter");
}

int IoUring::Wait() {
  std::atomic_ref head(*reinterpret_cast<uint32_t*>(queues_ + cq_head_));
  std::atomic_ref tail(*reinterpret_cast<uint32_t*>(queues_ + cq_tail_));
  while (head.load() == tail.load()) {
    if (syscall(SYS_io_uring_enter, ring_, 0, 1, IORING_ENTER_GETEVENTS, nullptr, 0) < 0 && errno != EINTR) {
      Fail("io_uring_enter");
      return -1;
    }
  }
  const int result = reinterpret_cast<const io_uring_cqe*>(queues_ + cqes_)[head.load() & cq_mask_].res;
  head.fetch_add(1);
  if (result < 0) error_ = std::strerror(-result);
  return result;
}

int IoUring::Run(uint8_t operation, int file, void* to, uint32_t size) {
  Submit(operation, file, to, size);
  return Wait();
}

}  // namespace vesper::test
