// The client against a hostile server. The input is a row of records: a command's request, which the client is made to
// send; a record with the flag kWantsReply, which is the body of the server's reply to the last request of that command;
// and from 0xff00 on events, by their kind.
#include <array>
#include <cstring>
#include <deque>

#include "client/objects/object.h"
#include "client/session/messages.h"
#include "client/session/session.h"
#include "client/wsi/device_windows.h"
#include "generated/wire/codecs.h"
#include "runtime/arena.h"
#include "runtime/wire/decoder.h"
#include "runtime/wire/record.h"
#include "tests/fuzz/fed_channel.h"
#include "tests/fuzz/records.h"
#include "tests/fuzz/seeds.h"

namespace vesper::test {
namespace {

constexpr size_t kArenaBytes = size_t{8} << 20;
constexpr uint64_t kMemoryBytes = 64 * 1024;

// Requests of the application name whatever they like.
class AnyObject final : public wire::HandleMapper {
 public:
  ObjectId ToWire(HandleType, uint64_t handle) const override { return handle; }
  bool FromWire(HandleType type, ObjectId id, wire::HandleUse, uint64_t* handle) override {
    *handle = id;
    if (!IsDispatchable(type)) return true;
    DispatchableHeader& header = headers_[static_cast<uint8_t>(type)];
    header.id = SeedId(type, 0);
    *handle = reinterpret_cast<uintptr_t>(&header);
    return true;
  }

 private:
  std::array<DispatchableHeader, kHandleTypeCount> headers_{};
};

class Application {
 public:
  Application() : channel_(new FedChannel), session_(std::unique_ptr<Channel>(channel_), Welcome{}) {
    channel_->on_send = [this](MessageKind kind, uint64_t sequence) {
      if (kind == MessageKind::kBatch && sequence != 0) Answer(sequence);
    };
    session_.SetInstance(&instance_);
    session_.AddDevice(&device_);
    session_.AddQueue(&queue_);
    Listen();
    memory_.size = kMemoryBytes;
    memory_.properties = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    reply_ = Success();
    void* data = nullptr;
    device_.mapped_memory.Map(memory_, 0, kMemoryBytes, &data);
  }
  ~Application() {
    reply_ = Success();
    device_.mapped_memory.Drop(memory_);
    session_.RemoveQueue(&queue_);
    session_.RemoveDevice(&device_);
  }

  void Run(std::span<const uint8_t> input) {
    wire::RecordHeader header;
    std::span<const uint8_t> body;
    while (!session_.lost() && wire::NextRecord(&input, &header, &body)) {
      if (header.command >= kFirstEvent) {
        Push(static_cast<uint16_t>(header.command - kFirstEvent), body);
      } else if (header.command >= kCommandCount || wire::kCodecs[header.command].decode_reply == nullptr) {
        continue;
      } else if ((header.flags & wire::kWantsReply) == 0) {
        requests_[header.command].assign(body.begin(), body.end());
      } else {
        Ask(header.command, body);
      }
    }
    reply_ = Success();
    session_.AskControl(wire::Control::kHeartbeat, nullptr, 0);  // events before it have been handled
    session_.messages().Deliver(session_);
  }

 private:
  // Callbacks of both forms that read all they are given.
  void Listen() {
    VkDebugUtilsMessengerCreateInfoEXT utils{};
    utils.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT;
    utils.messageSeverity = ~0u;
    utils.messageType = ~0u;
    utils.pfnUserCallback = [](VkDebugUtilsMessageSeverityFlagBitsEXT, VkDebugUtilsMessageTypeFlagsEXT,
                               const VkDebugUtilsMessengerCallbackDataEXT* data, void*) -> VkBool32 {
      size_t bytes = Length(data->pMessageIdName) + Length(data->pMessage);
      for (uint32_t i = 0; i < data->queueLabelCount; ++i) bytes += Length(data->pQueueLabels[i].pLabelName);
      for (uint32_t i = 0; i < data->cmdBufLabelCount; ++i) bytes += Length(data->pCmdBufLabels[i].pLabelName);
      for (uint32_t i = 0; i < data->objectCount; ++i) bytes += Length(data->pObjects[i].pObjectName);
      volatile size_t read = bytes;
      return read != 0 ? VK_FALSE : VK_TRUE;
    };
    VkDebugReportCallbackCreateInfoEXT report{};
    report.sType = VK_STRUCTURE_TYPE_DEBUG_REPORT_CALLBACK_CREATE_INFO_EXT;
    report.flags = ~0u;
    report.pfnCallback = [](VkDebugReportFlagsEXT, VkDebugReportObjectTypeEXT, uint64_t, size_t, int32_t,
                            const char* layer, const char* text, void*) -> VkBool32 {
      volatile size_t read = Length(layer) + Length(text);
      return read != 0 ? VK_FALSE : VK_TRUE;
    };
    session_.messages().Add({kNullObject, utils});
    session_.messages().Add({SeedId(HandleType::kDebugUtilsMessengerEXT, 0), utils});
    session_.messages().Add({SeedId(HandleType::kDebugReportCallbackEXT, 0), report});
  }
  static size_t Length(const char* text) { return text == nullptr ? 0 : std::strlen(text); }

  static std::vector<uint8_t> Success() { return std::vector<uint8_t>(sizeof(wire::ReplyHeader)); }

  void Answer(uint64_t sequence) {
    if (!events_.empty()) channel_->Feed({MessageKind::kEvent, 0, {events_.data(), events_.data() + events_.size()}});
    events_.clear();
    channel_->Feed({MessageKind::kReply, sequence, reply_});
  }

  void Push(uint16_t kind, std::span<const uint8_t> body) {
    const size_t mark = wire::BeginRecord(&events_, kind, 0);
    events_.Append(body.data(), body.size());
    wire::EndRecord(&events_, mark);
  }

  void Ask(uint16_t command, std::span<const uint8_t> reply) {
    const wire::CommandCodec& codec = wire::kCodecs[command];
    arena_.Reset();
    void* args = arena_.Allocate(codec.args_size);
    wire::Decoder decoder(requests_[command], &arena_, &objects_);
    codec.decode_request(decoder, args);
    if (!decoder.ok()) return;  // no application's
    reply_.assign(reply.begin(), reply.end());
    VkResult failure = VK_SUCCESS;
    session_.Ask(static_cast<Command>(command), args, &failure);
    session_.messages().Deliver(session_);
  }

  FedChannel* const channel_;  // the session's
  std::vector<uint8_t> reply_;
  wire::ByteBuffer events_;
  client::Session session_;
  client::Instance instance_{&session_, SeedId(HandleType::kInstance, 0)};
  client::PhysicalDevice physical_device_{&instance_, SeedId(HandleType::kPhysicalDevice, 0)};
  client::Device device_{&physical_device_, SeedId(HandleType::kDevice, 0), &session_,
                         std::make_unique<client::DeviceWindows>()};
  client::Queue queue_{&device_, SeedId(HandleType::kQueue, 0)};
  client::MemoryState memory_{SeedId(HandleType::kDeviceMemory, 0)};
  AnyObject objects_;
  Arena arena_{kArenaBytes};
  std::array<std::vector<uint8_t>, kCommandCount> requests_;
};

}  // namespace
}  // namespace vesper::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vesper::test::Application().Run({data, size});
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  return vesper::test::MutateRecords(data, size, max_size, seed);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* first, size_t first_size, const uint8_t* second,
                                            size_t second_size, uint8_t* out, size_t max_size, unsigned seed) {
  return vesper::test::CrossRecords(first, first_size, second, second_size, out, max_size, seed);
}
