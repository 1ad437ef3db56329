#include "tests/server/test_client.h"

#include <gtest/gtest.h>

#include "generated/wire/codecs.h"
#include "runtime/wire/decoder.h"

namespace vesper::server {
namespace {

constexpr std::chrono::milliseconds kPatience{10'000};

}  // namespace

TestClient::TestClient(Driver* driver, ChannelPair pair, const SessionLimits& limits) {
  channel_ = std::move(pair.client);
  session_ = std::make_unique<Session>(std::move(pair.server), driver, 1, limits);
  thread_ = std::thread([this] { end_reason_ = session_->Run(); });
}

TestClient::~TestClient() {
  channel_->Close();
  if (thread_.joinable()) thread_.join();
}

void TestClient::Append(Command command, const void* args, uint16_t flags) {
  const size_t mark = wire::BeginRecord(&batch_, static_cast<uint16_t>(command), flags);
  wire::Encoder encoder(&batch_);
  wire::kCodecs[static_cast<size_t>(command)].encode_request(encoder, args);
  ASSERT_TRUE(wire::EndRecord(&batch_, mark));
}

void TestClient::Flush() {
  SendRaw({batch_.data(), batch_.size()});
  batch_.clear();
}

void TestClient::SendRaw(std::span<const uint8_t> batch) {
  if (batch.empty()) return;
  const std::span<const uint8_t> parts[] = {batch};
  channel_->Send(MessageKind::kBatch, next_sequence_, parts);
}

bool TestClient::ReceiveOne() {
  Message message;
  if (channel_->Receive(&message, kPatience) != ChannelStatus::kOk) return false;
  if (message.kind == MessageKind::kReply) replies_.push_back(std::move(message));
  if (message.kind == MessageKind::kNumbers) events_.push_back({wire::EventKind::kCompleted, message.payload});
  if (message.kind != MessageKind::kEvent) return true;
  std::span<const uint8_t> bytes = message.payload;
  wire::RecordHeader header;
  std::span<const uint8_t> body;
  while (wire::NextRecord(&bytes, &header, &body)) {
    const auto kind = static_cast<wire::EventKind>(header.command);
    if (kind == wire::EventKind::kAlive) continue;  // says only that this machine is slow
    events_.push_back({kind, {body.begin(), body.end()}});
  }
  return true;
}

std::vector<uint8_t> TestClient::AwaitReply(uint64_t sequence) {
  while (true) {
    for (auto it = replies_.begin(); it != replies_.end(); ++it) {
      if (it->sequence != sequence) continue;
      std::vector<uint8_t> payload = std::move(it->payload);
      replies_.erase(it);
      return payload;
    }
    if (ReceiveOne()) continue;
    ADD_FAILURE() << "no reply " << sequence;
    return std::vector<uint8_t>(sizeof(wire::ReplyHeader), 0xff);
  }
}

wire::ReplyKind TestClient::Ask(Command command, void* args) {
  Append(command, args, wire::kWantsReply);
  Flush();
  const std::vector<uint8_t> payload = AwaitReply(next_sequence_++);
  const auto header = wire::Load<wire::ReplyHeader>(payload.data());
  inert_result_ = header.result;
  if (header.kind != wire::ReplyKind::kAnswer) return header.kind;
  Arena arena(1 << 20);
  wire::Decoder decoder(std::span<const uint8_t>(payload).subspan(sizeof(header)), &arena);
  wire::kCodecs[static_cast<size_t>(command)].decode_reply(decoder, args);
  EXPECT_TRUE(decoder.ok()) << decoder.error();
  return header.kind;
}

void TestClient::PostControl(wire::Control control, const void* body, size_t size) {
  const size_t mark = wire::BeginRecord(&batch_, static_cast<uint16_t>(control), 0);
  batch_.Append(body, size);
  wire::EndRecord(&batch_, mark);
}

void TestClient::AskControl(wire::Control control, const void* body, size_t size) {
  const size_t mark = wire::BeginRecord(&batch_, static_cast<uint16_t>(control), wire::kWantsReply);
  batch_.Append(body, size);
  wire::EndRecord(&batch_, mark);
  Flush();
  AwaitReply(next_sequence_++);
}

TestEvent TestClient::WaitFor(wire::EventKind kind) {
  Flush();
  while (true) {
    for (auto it = events_.begin(); it != events_.end(); ++it) {
      if (it->kind != kind) continue;
      TestEvent event = std::move(*it);
      events_.erase(it);
      return event;
    }
    if (ReceiveOne()) continue;
    ADD_FAILURE() << "no event " << static_cast<int>(kind);
    return {kind, std::vector<uint8_t>(64)};
  }
}

std::string TestClient::Join() {
  thread_.join();
  return end_reason_;
}

TestDevice::TestDevice(TestClient* client) : client(client) {
  VkInstanceCreateInfo instance_info{};
  instance_info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
  instance = client->New<VkInstance>(HandleType::kInstance);
  wire::CreateInstanceArgs make_instance{};
  make_instance.pCreateInfo = &instance_info;
  make_instance.pInstance = &instance;
  client->Ask(Command::kCreateInstance, &make_instance);
  EXPECT_EQ(make_instance.result, VK_SUCCESS);

  uint32_t count = 1;
  physical_device = client->New<VkPhysicalDevice>(HandleType::kPhysicalDevice);
  wire::EnumeratePhysicalDevicesArgs enumerate{instance, &count, &physical_device, VK_SUCCESS, nullptr};
  client->Ask(Command::kEnumeratePhysicalDevices, &enumerate);
  EXPECT_EQ(count, 1u);

  const float priority = 1;
  VkDeviceQueueCreateInfo queue_info{};
  queue_info.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
  queue_info.queueCount = 1;
  queue_info.pQueuePriorities = &priority;
  VkDeviceCreateInfo device_info{};
  device_info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
  device_info.queueCreateInfoCount = 1;
  device_info.pQueueCreateInfos = &queue_info;
  device = client->New<VkDevice>(HandleType::kDevice);
  wire::CreateDeviceArgs make_device{};
  make_device.physicalDevice = physical_device;
  make_device.pCreateInfo = &device_info;
  make_device.pDevice = &device;
  client->Ask(Command::kCreateDevice, &make_device);
  EXPECT_EQ(make_device.result, VK_SUCCESS);

  queue = client->New<VkQueue>(HandleType::kQueue);
  wire::GetDeviceQueueArgs get_queue{};
  get_queue.device = device;
  get_queue.pQueue = &queue;
  client->Post(Command::kGetDeviceQueue, &get_queue);

  VkPhysicalDeviceMemoryProperties memory{};
  wire::GetPhysicalDeviceMemoryPropertiesArgs get_memory{};
  get_memory.physicalDevice = physical_device;
  get_memory.pMemoryProperties = &memory;
  client->Ask(Command::kGetPhysicalDeviceMemoryProperties, &get_memory);
  constexpr VkMemoryPropertyFlags kWanted = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  while (memory_type < memory.memoryTypeCount && (memory.memoryTypes[memory_type].propertyFlags & kWanted) != kWanted) {
    ++memory_type;
  }

  VkCommandPoolCreateInfo pool_info{};
  pool_info.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
  pool = client->New<VkCommandPool>(HandleType::kCommandPool);
  wire::CreateCommandPoolArgs make_pool{};
  make_pool.device = device;
  make_pool.pCreateInfo = &pool_info;
  make_pool.pCommandPool = &pool;
  client->Post(Command::kCreateCommandPool, &make_pool);
}

TestDevice::~TestDevice() {
  if (client->joined()) return;
  wire::DestroyCommandPoolArgs destroy_pool{};
  destroy_pool.device = device;
  destroy_pool.commandPool = pool;
  client->Post(Command::kDestroyCommandPool, &destroy_pool);
  wire::DestroyDeviceArgs destroy_device{};
  destroy_device.device = device;
  client->Post(Command::kDestroyDevice, &destroy_device);
  wire::DestroyInstanceArgs destroy_instance{};
  destroy_instance.instance = instance;
  client->Post(Command::kDestroyInstance, &destroy_instance);
  client->AskControl(wire::Control::kHeartbeat, nullptr, 0);
}

VkDeviceMemory TestDevice::Allocate(VkDeviceSize size) {
  VkMemoryAllocateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
  info.allocationSize = size;
  info.memoryTypeIndex = memory_type;
  auto memory = client->New<VkDeviceMemory>(HandleType::kDeviceMemory);
  wire::AllocateMemoryArgs args{};
  args.device = device;
  args.pAllocateInfo = &info;
  args.pMemory = &memory;
  client->Ask(Command::kAllocateMemory, &args);
  EXPECT_EQ(args.result, VK_SUCCESS);
  return memory;
}

VkBuffer TestDevice::Buffer(VkDeviceSize size, VkDeviceMemory memory, VkDeviceSize offset) {
  VkBufferCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
  info.size = size;
  info.usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  auto buffer = client->New<VkBuffer>(HandleType::kBuffer);
  wire::CreateBufferArgs args{};
  args.device = device;
  args.pCreateInfo = &info;
  args.pBuffer = &buffer;
  client->Post(Command::kCreateBuffer, &args);
  wire::BindBufferMemoryArgs bind{device, buffer, memory, offset, VK_SUCCESS};
  client->Post(Command::kBindBufferMemory, &bind);
  return buffer;
}

VkDescriptorSetLayout TestDevice::SetLayout(uint32_t binding, uint32_t count) {
  const VkDescriptorSetLayoutBinding each{binding, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, count, VK_SHADER_STAGE_COMPUTE_BIT,
                                          nullptr};
  VkDescriptorSetLayoutCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
  info.bindingCount = 1;
  info.pBindings = &each;
  auto layout = client->New<VkDescriptorSetLayout>(HandleType::kDescriptorSetLayout);
  wire::CreateDescriptorSetLayoutArgs args{};
  args.device = device;
  args.pCreateInfo = &info;
  args.pSetLayout = &layout;
  client->Post(Command::kCreateDescriptorSetLayout, &args);
  return layout;
}

VkDescriptorSet TestDevice::Set(VkDescriptorSetLayout layout, uint32_t count) {
  const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, count};
  VkDescriptorPoolCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
  info.maxSets = 1;
  info.poolSizeCount = 1;
  info.pPoolSizes = &size;
  auto from = client->New<VkDescriptorPool>(HandleType::kDescriptorPool);
  wire::CreateDescriptorPoolArgs make{};
  make.device = device;
  make.pCreateInfo = &info;
  make.pDescriptorPool = &from;
  client->Post(Command::kCreateDescriptorPool, &make);
  const VkDescriptorSetAllocateInfo allocate{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO, nullptr, from, 1, &layout};
  auto set = client->New<VkDescriptorSet>(HandleType::kDescriptorSet);
  wire::AllocateDescriptorSetsArgs args{};
  args.device = device;
  args.pAllocateInfo = &allocate;
  args.pDescriptorSets = &set;
  client->Post(Command::kAllocateDescriptorSets, &args);
  return set;
}

VkPipelineLayout TestDevice::PipelineLayout(VkDescriptorSetLayout set) {
  const VkPushConstantRange range{VK_SHADER_STAGE_COMPUTE_BIT, 0, 128};
  VkPipelineLayoutCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
  info.setLayoutCount = 1;
  info.pSetLayouts = &set;
  info.pushConstantRangeCount = 1;
  info.pPushConstantRanges = &range;
  auto layout = client->New<VkPipelineLayout>(HandleType::kPipelineLayout);
  wire::CreatePipelineLayoutArgs args{};
  args.device = device;
  args.pCreateInfo = &info;
  args.pPipelineLayout = &layout;
  client->Post(Command::kCreatePipelineLayout, &args);
  return layout;
}

VkCommandBuffer TestDevice::Begin() {
  VkCommandBufferAllocateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
  info.commandPool = pool;
  info.commandBufferCount = 1;
  auto commands = client->New<VkCommandBuffer>(HandleType::kCommandBuffer);
  wire::AllocateCommandBuffersArgs args{};
  args.device = device;
  args.pAllocateInfo = &info;
  args.pCommandBuffers = &commands;
  client->Post(Command::kAllocateCommandBuffers, &args);
  VkCommandBufferBeginInfo begin{};
  begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  wire::BeginCommandBufferArgs begin_args{};
  begin_args.commandBuffer = commands;
  begin_args.pBeginInfo = &begin;
  client->Post(Command::kBeginCommandBuffer, &begin_args);
  return commands;
}

void TestDevice::Submit(VkCommandBuffer commands, VkFence fence) {
  wire::EndCommandBufferArgs end{};
  end.commandBuffer = commands;
  client->Post(Command::kEndCommandBuffer, &end);
  VkSubmitInfo info{};
  info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
  info.commandBufferCount = 1;
  info.pCommandBuffers = &commands;
  wire::QueueSubmitArgs args{};
  args.queue = queue;
  args.submitCount = 1;
  args.pSubmits = &info;
  args.fence = fence;
  client->Post(Command::kQueueSubmit, &args);
}

}  // namespace vesper::server
