// The C ABI: handles, and the border at which exceptions become numbers.
#include "rt_vk.h"

#include <cstddef>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include "vesper/compute.h"

namespace vesper::compute {
namespace {

// The upper byte of a handle.
enum class Kind : uint8_t { kDevice = 1, kBuffer = 2, kKernel = 3 };

template <typename T>
constexpr Kind kKindOf = Kind::kDevice;
template <>
constexpr Kind kKindOf<Buffer> = Kind::kBuffer;
template <>
constexpr Kind kKindOf<Kernel> = Kind::kKernel;

const char* KindName(Kind kind) {
  switch (kind) {
    case Kind::kDevice:
      return "device";
    case Kind::kBuffer:
      return "buffer";
    case Kind::kKernel:
      return "kernel";
  }
  return "object";
}

struct InvalidHandle : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct InvalidArgument : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A handle is kind (8 bits), generation (32) and slot (24). A slot's generation grows with each
// object and the slot is given up when it ends, so that no handle comes twice.
class Registry {
 public:
  template <typename T>
  uint64_t Add(std::shared_ptr<T> object) {
    const std::unique_lock lock(mutex_);
    if (free_.empty()) {
      if (slots_.size() > kMaxSlot) throw InvalidArgument("creating more than 16777216 objects");
      slots_.emplace_back();
      free_.push_back(static_cast<uint32_t>(slots_.size() - 1));
    }
    const uint32_t index = free_.back();
    free_.pop_back();
    Slot& slot = slots_[index];
    slot.kind = kKindOf<T>;
    slot.object = std::move(object);
    return static_cast<uint64_t>(slot.kind) << 56 | uint64_t{slot.generation} << 24 | index;
  }

  // Throws InvalidHandle. The object lives while its pointer is held, also when it is freed now.
  template <typename T>
  std::shared_ptr<T> Get(uint64_t handle) const {
    const std::shared_lock lock(mutex_);
    return std::static_pointer_cast<T>(slots_[Find<T>(handle)].object);
  }

  template <typename T>
  void Remove(uint64_t handle) {
    std::shared_ptr<void> object;  // ends outside the lock
    const std::unique_lock lock(mutex_);
    const uint32_t index = Find<T>(handle);
    object.swap(slots_[index].object);
    if (++slots_[index].generation != 0) free_.push_back(index);
  }

 private:
  static constexpr uint32_t kMaxSlot = (1u << 24) - 1;
  struct Slot {
    uint32_t generation = 1;
    Kind kind = Kind::kDevice;
    std::shared_ptr<void> object;
  };

  template <typename T>
  uint32_t Find(uint64_t handle) const {
    const std::string name = KindName(kKindOf<T>);
    const auto index = static_cast<uint32_t>(handle & kMaxSlot);
    const auto generation = static_cast<uint32_t>(handle >> 24);
    if (handle == 0) throw InvalidHandle("using 0 as a " + name);
    const auto kind = static_cast<uint8_t>(handle >> 56);
    const bool known = kind >= 1 && kind <= 3;
    if (known && kind != static_cast<uint8_t>(kKindOf<T>)) {
      throw InvalidHandle(std::string("using the handle of a ") + KindName(static_cast<Kind>(kind)) + " as a " + name);
    }
    if (!known || index >= slots_.size() || slots_[index].kind != kKindOf<T> ||
        slots_[index].generation != generation || slots_[index].object == nullptr) {
      throw InvalidHandle("using a " + name + " that was freed or never existed");
    }
    return index;
  }

  mutable std::shared_mutex mutex_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
};

// Never destroyed: the driver may end before objects of static storage would.
Registry& TheRegistry() {
  static Registry* const registry = new Registry;
  return *registry;
}

std::string& LastError() {
  thread_local std::string error;
  return error;
}

int Fail(int code, const char* what) noexcept {
  try {
    LastError() = what;
  } catch (...) {
    LastError().clear();
  }
  return code;
}

// Runs `call`; 0 or the number of what it threw.
template <typename Call>
int Guard(Call call) noexcept {
  try {
    call();
    return RT_VK_SUCCESS;
  } catch (const Error& error) {
    return Fail(-1 - static_cast<int>(error.code()), error.what());
  } catch (const InvalidHandle& error) {
    return Fail(RT_VK_INVALID_HANDLE, error.what());
  } catch (const InvalidArgument& error) {
    return Fail(RT_VK_INVALID_ARGUMENT, error.what());
  } catch (const std::exception& error) {
    return Fail(RT_VK_INTERNAL_ERROR, error.what());
  } catch (...) {
    return Fail(RT_VK_INTERNAL_ERROR, "something that is no exception of this library");
  }
}

template <typename Call>
uint64_t GuardHandle(Call call) noexcept {
  uint64_t handle = 0;
  Guard([&] { handle = call(); });
  return handle;
}

void CheckPointer(const void* pointer, uint64_t bytes, const char* attempted) {
  if (pointer == nullptr && bytes != 0) {
    throw InvalidArgument(std::string(attempted) + " with a null pointer");
  }
}

void Launch(uint64_t kernel_handle, const uint64_t* buffers, uint32_t count, const Grid& grid, const void* push,
            uint32_t push_bytes) {
  Registry& registry = TheRegistry();
  const auto kernel = registry.Get<Kernel>(kernel_handle);
  CheckPointer(buffers, count, "launching a kernel");
  CheckPointer(push, push_bytes, "launching a kernel, its push constants");
  if (count != kernel->reflection().bindings.size()) {
    throw Error(ErrorCode::ExecutionFailed, "launching a kernel of " +
                                                std::to_string(kernel->reflection().bindings.size()) +
                                                " buffers with " + std::to_string(count));
  }
  std::vector<std::shared_ptr<Buffer>> held;
  std::vector<BufferRange> ranges;
  for (uint32_t i = 0; i < count; ++i) {
    held.push_back(registry.Get<Buffer>(buffers[i]));
    ranges.emplace_back(*held.back());
  }
  kernel->Launch(ranges, grid, std::span(static_cast<const std::byte*>(push), push_bytes));
}

}  // namespace
}  // namespace vesper::compute

using namespace vesper::compute;  // NOLINT: the functions below are C's

int rt_vk_is_available(void) { return Instance::IsAvailable() ? 1 : 0; }

uint64_t rt_vk_device_create(void) {
  return GuardHandle([] { return TheRegistry().Add(std::make_shared<Device>()); });
}

int rt_vk_device_sync(uint64_t device) {
  return Guard([&] { TheRegistry().Get<Device>(device)->Sync(); });
}

void rt_vk_device_free(uint64_t device) {
  Guard([&] { TheRegistry().Remove<Device>(device); });
}

uint64_t rt_vk_buffer_alloc(uint64_t device, uint64_t bytes) {
  return GuardHandle(
      [&] { return TheRegistry().Add(std::make_shared<Buffer>(*TheRegistry().Get<Device>(device), bytes)); });
}

int rt_vk_buffer_upload(uint64_t buffer, const void* data, uint64_t bytes) {
  return Guard([&] {
    const auto to = TheRegistry().Get<Buffer>(buffer);
    CheckPointer(data, bytes, "uploading");
    to->Upload(data, bytes);
  });
}

int rt_vk_buffer_download(uint64_t buffer, void* data, uint64_t bytes) {
  return Guard([&] {
    const auto from = TheRegistry().Get<Buffer>(buffer);
    CheckPointer(data, bytes, "downloading");
    from->Download(data, bytes);
  });
}

void rt_vk_buffer_free(uint64_t buffer) {
  Guard([&] { TheRegistry().Remove<Buffer>(buffer); });
}

uint64_t rt_vk_kernel_compile(uint64_t device, const uint32_t* spirv, uint64_t bytes) {
  return GuardHandle([&] {
    const auto on = TheRegistry().Get<Device>(device);
    CheckPointer(spirv, 1, "compiling a kernel");
    if (bytes == 0 || bytes % sizeof(uint32_t) != 0) {
      throw Error(ErrorCode::SpirvCompilationFailed,
                  "compiling " + std::to_string(bytes) + " bytes, which are not words");
    }
    return TheRegistry().Add(std::make_shared<Kernel>(*on, std::span(spirv, bytes / sizeof(uint32_t))));
  });
}

int rt_vk_kernel_launch(uint64_t kernel, const uint64_t* buffers, uint32_t count, uint32_t x, uint32_t y, uint32_t z,
                        const void* push, uint32_t push_bytes) {
  return Guard([&] { Launch(kernel, buffers, count, Grid::Threads(x, y, z), push, push_bytes); });
}

int rt_vk_kernel_launch_1d(uint64_t kernel, const uint64_t* buffers, uint32_t count, uint32_t x, const void* push,
                           uint32_t push_bytes) {
  return Guard([&] { Launch(kernel, buffers, count, Grid::Threads(x), push, push_bytes); });
}

void rt_vk_kernel_free(uint64_t kernel) {
  Guard([&] { TheRegistry().Remove<Kernel>(kernel); });
}

const char* rt_vk_last_error(void) { return LastError().c_str(); }
