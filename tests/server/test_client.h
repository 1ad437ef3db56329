// The least client that can drive a session: mints ids, encodes commands with the generated codecs,
// keeps events. For tests of the server alone, with a session in a thread, over a loopback channel if not told otherwise.
#pragma once

#include <vulkan/vulkan.h>

#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "generated/vk/commands.h"
#include "generated/wire/all.h"
#include "runtime/channel.h"
#include "runtime/object_id.h"
#include "runtime/wire/control.h"
#include "runtime/wire/record.h"
#include "server/session/session.h"

namespace vesper::server {

struct TestEvent {
  wire::EventKind kind;
  std::vector<uint8_t> body;

  template <typename T>
  T As() const {
    T value;
    std::memcpy(&value, body.data(), sizeof(T));
    return value;
  }
};

class TestClient {
 public:
  explicit TestClient(Driver* driver, ChannelPair pair = MakeLoopback(), const SessionLimits& limits = {});
  ~TestClient();

  template <typename H>
  H New(HandleType type) {
    const ObjectId id = MakeObjectId(type, 1, next_slot_++);
    if constexpr (std::is_pointer_v<H>) {
      if (IsDispatchable(type)) return reinterpret_cast<H>(&headers_.emplace_back(DispatchableHeader{0, id}));
    }
    H handle;
    std::memcpy(&handle, &id, sizeof(handle));
    return handle;
  }
  template <typename H>
  static ObjectId IdOf(H dispatchable) {
    return reinterpret_cast<const DispatchableHeader*>(dispatchable)->id;
  }

  // Queues a command without a reply.
  void Post(Command command, const void* args) { Append(command, args, 0); }
  // Sends everything and waits for the reply, which goes into `args`. The reply's kind.
  wire::ReplyKind Ask(Command command, void* args);
  void PostControl(wire::Control control, const void* body, size_t size);
  void AskControl(wire::Control control, const void* body, size_t size);
  void Flush();

  // Waits for the next event of that kind, keeping others. Numbers that the server raises are completions. Fails the test after
  // some seconds.
  TestEvent WaitFor(wire::EventKind kind);
  std::vector<TestEvent> TakeEvents() { return std::exchange(events_, {}); }

  // Sends bytes that are no batch of this client.
  void SendRaw(std::span<const uint8_t> batch);
  // Waits for the session's end.
  std::string Join();
  bool joined() const { return !thread_.joinable(); }
  Session& session() { return *session_; }
  int32_t inert_result() const { return inert_result_; }

 private:
  void Append(Command command, const void* args, uint16_t flags);
  std::vector<uint8_t> AwaitReply(uint64_t sequence);
  bool ReceiveOne();

  std::unique_ptr<Channel> channel_;
  std::unique_ptr<Session> session_;
  std::thread thread_;
  std::string end_reason_;
  wire::ByteBuffer batch_;
  std::deque<DispatchableHeader> headers_;
  std::vector<TestEvent> events_;
  std::vector<Message> replies_;
  uint64_t next_sequence_ = 1;
  uint32_t next_slot_ = 1;
  int32_t inert_result_ = 0;
};

// Instance, the first physical device, a device with one queue of family 0, and what tests of
// submits need.
class TestDevice {
 public:
  explicit TestDevice(TestClient* client);
  ~TestDevice();

  VkDeviceMemory Allocate(VkDeviceSize size);  // host-visible, coherent
  VkBuffer Buffer(VkDeviceSize size, VkDeviceMemory memory, VkDeviceSize offset);
  VkDescriptorSetLayout SetLayout(uint32_t binding, uint32_t count);  // of storage buffers, for compute
  VkDescriptorSet Set(VkDescriptorSetLayout layout, uint32_t count);  // from a pool of its own
  VkPipelineLayout PipelineLayout(VkDescriptorSetLayout layout);      // and 128 bytes of push constants
  VkCommandBuffer Begin();
  void Submit(VkCommandBuffer commands, VkFence fence);  // ends it first

  TestClient* client;
  VkInstance instance{};
  VkPhysicalDevice physical_device{};
  VkDevice device{};
  VkQueue queue{};
  VkCommandPool pool{};
  uint32_t memory_type = 0;
};

}  // namespace vesper::server
