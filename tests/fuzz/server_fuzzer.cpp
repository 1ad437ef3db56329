// The server against a hostile client: the input is a batch of records, which a session decodes and executes as it would
// in a worker, on a driver that reads and writes all it is given.

#include <cstdlib>
#include <stdexcept>

#include "generated/wire/all.h"
#include "generated/wire/codecs.h"
#include "runtime/wire/encoder.h"
#include "runtime/wire/record.h"
#include "server/base/log.h"
#include "server/session/session.h"
#include "tests/fuzz/fed_channel.h"
#include "tests/fuzz/null_driver.h"
#include "tests/fuzz/records.h"
#include "tests/fuzz/seeds.h"

namespace vesper::test {
namespace {

constexpr server::SessionLimits kLimits{.objects = 1 << 16,
                                        .command_bytes = size_t{8} << 20,
                                        .queued_bytes = size_t{32} << 20,
                                        .unread_bytes = size_t{32} << 20};

// Instance, physical device, device and queue, made as a client makes them.
class Prelude {
 public:
  Prelude() {
    VkInstanceCreateInfo instance_info{};
    instance_info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
    auto instance = Handle<VkInstance>(HandleType::kInstance);
    wire::CreateInstanceArgs make_instance{};
    make_instance.pCreateInfo = &instance_info;
    make_instance.pInstance = &instance;
    Append(Command::kCreateInstance, &make_instance);
    uint32_t count = 1;
    auto physical_device = Handle<VkPhysicalDevice>(HandleType::kPhysicalDevice);
    wire::EnumeratePhysicalDevicesArgs enumerate{};
    enumerate.instance = instance;
    enumerate.pPhysicalDeviceCount = &count;
    enumerate.pPhysicalDevices = &physical_device;
    Append(Command::kEnumeratePhysicalDevices, &enumerate);
    VkDeviceCreateInfo device_info{};
    device_info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
    auto device = Handle<VkDevice>(HandleType::kDevice);
    wire::CreateDeviceArgs make_device{};
    make_device.physicalDevice = physical_device;
    make_device.pCreateInfo = &device_info;
    make_device.pDevice = &device;
    Append(Command::kCreateDevice, &make_device);
    auto queue = Handle<VkQueue>(HandleType::kQueue);
    wire::GetDeviceQueueArgs get_queue{};
    get_queue.device = device;
    get_queue.pQueue = &queue;
    Append(Command::kGetDeviceQueue, &get_queue);
  }

  Message message() const { return {MessageKind::kBatch, 0, {batch_.data(), batch_.data() + batch_.size()}}; }

 private:
  template <typename H>
  H Handle(HandleType type) {
    DispatchableHeader& header = headers_.emplace_back();
    header.id = SeedId(type, 0);
    return reinterpret_cast<H>(&header);
  }
  void Append(Command command, const void* args) {
    const size_t mark = wire::BeginRecord(&batch_, static_cast<uint16_t>(command), 0);
    wire::Encoder encoder(&batch_);
    wire::kCodecs[static_cast<size_t>(command)].encode_request(encoder, args);
    wire::EndRecord(&batch_, mark);
  }

  std::deque<DispatchableHeader> headers_;
  wire::ByteBuffer batch_;
};

// Some of every other type, of that device.
void AddObjects(HandleTable* table) {
  const HandleTable::Lock lock = table->Acquire();
  const ObjectId device = SeedId(HandleType::kDevice, 0);
  const Object* owner = table->Find(lock, device);
  if (owner == nullptr) throw std::logic_error("the null driver made no device");
  const void* context = owner->context;
  for (uint8_t i = 1; i < kHandleTypeCount; ++i) {
    const auto type = static_cast<HandleType>(i);
    for (uint32_t n = 0; n < kSeedsPerType; ++n) {
      const ObjectId id = SeedId(type, n);
      if (table->Find(lock, id) != nullptr) continue;
      if (type == HandleType::kInstance || type == HandleType::kPhysicalDevice || type == HandleType::kDevice) continue;
      Object* object = table->Add(lock, type, id, device, IsDispatchable(type) ? context : nullptr);
      const uint64_t handle = 0x10000000 + SlotOf(id) * uint64_t{16};
      if (n + 1 == kSeedsPerType) {
        table->SetFailed(lock, object, VK_ERROR_OUT_OF_DEVICE_MEMORY);
      } else {
        table->SetLive(lock, object, handle, IsDispatchable(type));
      }
    }
  }
}

}  // namespace
}  // namespace vesper::test

// FUZZ_LOG=1 shows what the session says, to understand an input.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  vesper::server::StartLog(
      std::getenv("FUZZ_LOG") != nullptr ? vesper::server::LogLevel::kDebug : vesper::server::LogLevel::kNothing, true);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace vesper;
  static const std::unique_ptr<server::Driver> kDriver = test::MakeNullDriver();
  static const test::Prelude kPrelude;
  {
    auto channel = std::make_unique<test::FedChannel>();
    test::FedChannel* const feed = channel.get();
    server::Session session(std::move(channel), kDriver.get(), 1, test::kLimits);
    feed->Feed(kPrelude.message());
    feed->on_empty = [&] {
      test::AddObjects(&session.objects());
      feed->Feed({MessageKind::kBatch, 1, {data, data + size}});
      feed->End();
    };
    session.Run();
  }
  test::ResetNullDriver();
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  return vesper::test::MutateRecords(data, size, max_size, seed);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* first, size_t first_size, const uint8_t* second,
                                            size_t second_size, uint8_t* out, size_t max_size, unsigned seed) {
  return vesper::test::CrossRecords(first, first_size, second, second_size, out, max_size, seed);
}
