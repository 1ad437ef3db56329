// Protects a whole session against the system's driver: order, memory, completion, failures and
// hostile bytes.
#include "server/session/session.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <thread>

#include "runtime/address.h"
#include "runtime/wire/decoder.h"
#include "tests/server/test_client.h"

namespace vesper::server {
namespace {

class SessionTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    PrepareDriverEnvironment();
    std::string error;
    driver_ = Driver::Load({.validation = false, .gpu = "llvmpipe"}, &error);
    ASSERT_NE(driver_, nullptr) << error;
  }
  static void TearDownTestSuite() { driver_.reset(); }

  static std::unique_ptr<Driver> driver_;
};

std::unique_ptr<Driver> SessionTest::driver_;

VkFence MakeFence(TestDevice& device) {
  VkFenceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO;
  auto fence = device.client->New<VkFence>(HandleType::kFence);
  wire::CreateFenceArgs args{};
  args.device = device.device;
  args.pCreateInfo = &info;
  args.pFence = &fence;
  device.client->Post(Command::kCreateFence, &args);
  return fence;
}

void Fill(TestDevice& device, VkCommandBuffer commands, VkBuffer buffer, VkDeviceSize size, uint32_t value) {
  wire::CmdFillBufferArgs fill{};
  fill.commandBuffer = commands;
  fill.dstBuffer = buffer;
  fill.size = size;
  fill.data = value;
  device.client->Post(Command::kCmdFillBuffer, &fill);
}

// When all that was sent has been decoded.
Queue& QueueOf(TestDevice& device) {
  device.client->AskControl(wire::Control::kHeartbeat, nullptr, 0);  // what was sent before has been decoded
  const ObjectId id = TestClient::IdOf(device.queue);
  HandleTable& table = device.client->session().objects();
  const HandleTable::Lock lock = table.Acquire();
  const Object* object = table.Find(lock, id);
  const auto* context = static_cast<const DispatchContext*>(object->context);
  VkQueue queue;
  std::memcpy(&queue, &object->handle, sizeof(queue));
  return context->device->QueueOf(queue, id);
}

// What became of the submits of all that was sent.
const Queue::Counts& CountsOf(TestDevice& device) { return QueueOf(device).counts(); }

// Both ends in this process.
ChannelPair MakeRing() {
  std::array<int, 2> ends{};
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  ChannelPair pair{MakeSocketChannel(ends[0]), MakeSocketChannel(ends[1])};
  std::thread server([&pair] { EXPECT_TRUE(pair.server->OfferRing()); });
  EXPECT_TRUE(pair.client->TakeRing());
  server.join();
  return pair;
}

ObjectId Raw(VkDeviceMemory memory) {
  ObjectId id;
  std::memcpy(&id, &memory, sizeof(id));
  return id;
}

wire::Progress Mark(TestClient& client) {
  client.PostControl(wire::Control::kMark, nullptr, 0);
  client.Flush();
  return client.WaitFor(wire::EventKind::kProgress).As<wire::Progress>();
}

TEST_F(SessionTest, MarksAreAnsweredWithWhatCommandsCost) {
  TestClient client(driver_.get());
  TestDevice device(&client);
  client.PostControl(wire::Control::kMark, nullptr, 0);
  client.AskControl(wire::Control::kHeartbeat, nullptr, 0);
  client.TakeEvents();
  const VkCommandBuffer commands = device.Begin();
  const VkFence fence = MakeFence(device);
  MakeFence(device);
  client.PostControl(wire::Control::kMark, nullptr, 0);
  client.Flush();
  const TestEvent event = client.WaitFor(wire::EventKind::kProgress);
  EXPECT_EQ(event.As<wire::Progress>().marks, 2u);
  const size_t costs = (event.body.size() - sizeof(wire::Progress)) / sizeof(wire::CommandCost);
  ASSERT_EQ(event.body.size(), sizeof(wire::Progress) + costs * sizeof(wire::CommandCost));
  bool told = false;
  for (size_t i = 0; i < costs; ++i) {
    const auto cost =
        wire::Load<wire::CommandCost>(&event.body[sizeof(wire::Progress) + i * sizeof(wire::CommandCost)]);
    EXPECT_GT(cost.ns, 0u) << cost.command;
    told = told || cost.command == static_cast<uint16_t>(Command::kCreateFence);
  }
  EXPECT_TRUE(told) << "of a command that the client did not know the cost of";
  EXPECT_EQ(Mark(client).marks, 3u);
  device.Submit(commands, fence);
  client.WaitFor(wire::EventKind::kCompleted);
}

// As image copies of WebGPU have them: what a submit costs does not grow with what is mapped beside.
TEST_F(SessionTest, HundredsOfMappedBuffersAreNotLookedThrough) {
  TestClient client(driver_.get());
  TestDevice device(&client);
  std::vector<VkBuffer> buffers;
  for (int i = 0; i < 300; ++i) {
    const VkDeviceMemory memory = device.Allocate(16384);
    buffers.push_back(device.Buffer(4096, memory, 0));
    const wire::MemoryMapping mapping{{Raw(memory), 0, 16384}, 1};
    client.PostControl(wire::Control::kMemoryMapped, &mapping, sizeof(mapping));
    client.PostControl(wire::Control::kMemoryWritable, &mapping.range, sizeof(mapping.range));
  }
  client.AskControl(wire::Control::kHeartbeat, nullptr, 0);
  const uint64_t before = client.session().memories().compared_bytes();
  const VkFence fence = MakeFence(device);
  const VkCommandBuffer commands = device.Begin();
  Fill(device, commands, buffers[7], 4096, 0x01020304);
  device.Submit(commands, fence);
  client.WaitFor(wire::EventKind::kCompleted);
  const uint64_t compared = client.session().memories().compared_bytes() - before;
  EXPECT_GE(compared, 4096u);
  EXPECT_LE(compared, 16384u) << "of 300 mappings of 16384";
}

TEST_F(SessionTest, ACopyReachesTheClientBeforeItsCompletion) {
  TestClient client(driver_.get());
  TestDevice device(&client);
  const VkDeviceMemory memory = device.Allocate(8192);
  const VkBuffer from = device.Buffer(4096, memory, 0);
  const VkBuffer to = device.Buffer(4096, memory, 4096);
  const wire::MemoryMapping mapping{{Raw(memory), 0, 8192}, 0};
  client.PostControl(wire::Control::kMemoryMapped, &mapping, sizeof(mapping));
  client.PostControl(wire::Control::kMemoryWritable, &mapping.range, sizeof(mapping.range));
  client.AskControl(wire::Control::kMemoryFetch, &mapping.range, sizeof(mapping.range));
  client.TakeEvents();  // what the driver's fresh memory held
  struct Write {
    wire::MemoryRuns runs;
    wire::MemoryRun run;
    uint8_t bytes[8192];
  };
  auto write = std::make_unique<Write>(Write{{Raw(memory), 1, 0}, {0, 8192, 8192}, {}});
  write->bytes[100] = 7;
  write->bytes[101] = 8;
  write->bytes[102] = 9;
  client.PostControl(wire::Control::kMemoryWrite, write.get(), sizeof(Write));
  const VkFence fence = MakeFence(device);
  const VkCommandBuffer commands = device.Begin();
  const VkBufferCopy region{0, 0, 4096};
  wire::CmdCopyBufferArgs copy{commands, from, to, 1, &region};
  client.Post(Command::kCmdCopyBuffer, &copy);
  device.Submit(commands, fence);

  const auto completed = client.WaitFor(wire::EventKind::kCompleted).As<wire::Completed>();
  EXPECT_EQ(completed.queue, TestClient::IdOf(device.queue));
  EXPECT_EQ(completed.serial, 1u);
  const std::vector<TestEvent> events = client.TakeEvents();
  ASSERT_EQ(events.size(), 1u) << "the memory came first";
  ASSERT_EQ(events[0].kind, wire::EventKind::kMemoryChanged);
  const auto runs = events[0].As<wire::MemoryRuns>();
  EXPECT_EQ(runs.count, 1u) << "only what the GPU changed";
  wire::MemoryRun run;
  std::memcpy(&run, events[0].body.data() + sizeof(runs), sizeof(run));
  EXPECT_EQ(run.offset, 4196u);
  EXPECT_EQ(run.changed, 3u);
  EXPECT_EQ(events[0].body[sizeof(runs) + sizeof(run)], 7);

  wire::GetFenceStatusArgs status{device.device, fence, VK_NOT_READY};
  client.Ask(Command::kGetFenceStatus, &status);
  EXPECT_EQ(status.result, VK_SUCCESS);
  wire::ResetFencesArgs reset{device.device, 1, &fence, VK_SUCCESS};
  client.Ask(Command::kResetFences, &reset);
  EXPECT_EQ(reset.result, VK_SUCCESS);
}

TEST_F(SessionTest, WhatIsRecordedIsHandedOnWithoutMoreAdo) {
  TestClient client(driver_.get());
  TestDevice device(&client);
  const VkBuffer buffer = device.Buffer(4096, device.Allocate(4096), 0);
  const VkCommandBuffer commands = device.Begin();
  for (uint32_t i = 0; i < 10; ++i) Fill(device, commands, buffer, 4096, i);
  const VkBufferCopy region{0, 2048, 1024};
  wire::CmdCopyBufferArgs copy{commands, buffer, buffer, 1, &region};
  client.Post(Command::kCmdCopyBuffer, &copy);
  client.AskControl(wire::Control::kHeartbeat, nullptr, 0);
  EXPECT_EQ(client.session().stats().plain, 11u);
}

// Updates of descriptor sets as well; where something is to be said of what they name, it is said as of any command.
TEST_F(SessionTest, LightCommandsAreHandedOnBetweenRecordings) {
  TestClient client(driver_.get());
  TestDevice device(&client);
  const VkBuffer buffer = device.Buffer(4096, device.Allocate(4096), 0);
  const VkDescriptorSet set = device.Set(device.SetLayout(0, 1), 1);
  const VkCommandBuffer commands = device.Begin();
  const VkDescriptorBufferInfo range{buffer, 0, VK_WHOLE_SIZE};
  VkWriteDescriptorSet write{};
  write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
  write.dstSet = set;
  write.descriptorCount = 1;
  write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
  write.pBufferInfo = &range;
  const auto update = [&] {
    wire::UpdateDescriptorSetsArgs args{};
    args.device = device.device;
    args.descriptorWriteCount = 1;
    args.pDescriptorWrites = &write;
    client.Post(Command::kUpdateDescriptorSets, &args);
  };
  for (uint32_t i = 0; i < 5; ++i) {
    Fill(device, commands, buffer, 4096, i);
    update();
  }
  client.AskControl(wire::Control::kHeartbeat, nullptr, 0);
  EXPECT_EQ(client.session().stats().plain, 10u);
  EXPECT_EQ(client.session().stats().inert, 0u);

  write.dstBinding = 1;  // which the layout has not
  update();
  client.Flush();
  const std::string reason = client.Join();
  EXPECT_NE(reason.find("vkUpdateDescriptorSets: "), std::string::npos) << reason;
}

TEST_F(SessionTest, SubmitsCompleteInOrderAndIdleWaitsAreAnswered) {
  TestClient client(driver_.get());
  TestDevice device(&client);
  const VkBuffer buffer = device.Buffer(4096, device.Allocate(4096), 0);
  for (uint32_t i = 0; i < 50; ++i) {
    const VkCommandBuffer commands = device.Begin();
    Fill(device, commands, buffer, 4096, i);
    device.Submit(commands, VK_NULL_HANDLE);
  }
  wire::QueueWaitIdleArgs idle{device.queue, VK_NOT_READY};
  client.Ask(Command::kQueueWaitIdle, &idle);
  EXPECT_EQ(idle.result, VK_SUCCESS);
  uint64_t last = 0;
  for (const TestEvent& event : client.TakeEvents()) {
    ASSERT_EQ(event.kind, wire::EventKind::kCompleted);
    const uint64_t serial = event.As<wire::Completed>().serial;
    EXPECT_GT(serial, last);
    last = serial;
  }
  EXPECT_EQ(last, 50u) << "the reply came after the completion of the last submit";
  wire::DeviceWaitIdleArgs device_idle{device.device, VK_NOT_READY};
  client.Ask(Command::kDeviceWaitIdle, &device_idle);
  EXPECT_EQ(device_idle.result, VK_SUCCESS);
}

// No other thread takes part in a submit to an idle queue. A machine that stands still for a moment sends the next ones the
// other way: hence the tries.
TEST_F(SessionTest, ASubmitToAnIdleQueueIsHandedOverAtOnce) {
  TestClient client(driver_.get());
  TestDevice device(&client);
  const VkBuffer buffer = device.Buffer(4096, device.Allocate(4096), 0);
  uint64_t at_once = 0, submits = 0;
  for (uint32_t i = 0; i < 100 && at_once == 0; ++i) {
    ++submits;
    const VkCommandBuffer commands = device.Begin();
    Fill(device, commands, buffer, 4096, i);
    device.Submit(commands, VK_NULL_HANDLE);
    wire::QueueWaitIdleArgs idle{device.queue, VK_NOT_READY};
    client.Ask(Command::kQueueWaitIdle, &idle);
    ASSERT_EQ(idle.result, VK_SUCCESS);
    at_once = CountsOf(device).at_once;
    if (at_once == 0) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  EXPECT_NE(at_once, 0u);
  const Queue::Counts& counts = CountsOf(device);
  EXPECT_LE(counts.executor_wakes, submits - counts.at_once) << "the executor is woken for what it hands over";
}

// Nor in its end, when that comes at once: how often it does is the machine's affair.
TEST_F(SessionTest, WhoHandsASubmitOverLooksAfterIt) {
  TestClient client(driver_.get(), MakeRing());
  TestDevice device(&client);
  const Queue::Counts& counts = CountsOf(device);
  for (uint64_t i = 1; i <= 5000; ++i) {
    wire::QueueSubmitArgs nothing{};
    nothing.queue = device.queue;
    client.Post(Command::kQueueSubmit, &nothing);
    ASSERT_EQ(client.WaitFor(wire::EventKind::kCompleted).As<wire::Completed>().serial, i);
    if (counts.attended != 0) break;
  }
  EXPECT_NE(counts.attended, 0u);
  EXPECT_LE(counts.attended, counts.at_once);
}

// Not while commands wait behind it: then the watcher sees its end.
TEST_F(SessionTest, ASubmitIsNotLookedAfterWhileCommandsWait) {
  TestClient client(driver_.get(), MakeRing());
  TestDevice device(&client);
  for (uint64_t i = 1; i <= 100; ++i) {
    wire::QueueSubmitArgs nothing{};
    nothing.queue = device.queue;
    client.Post(Command::kQueueSubmit, &nothing);
    client.PostControl(wire::Control::kHeartbeat, nullptr, 0);
    ASSERT_EQ(client.WaitFor(wire::EventKind::kCompleted).As<wire::Completed>().serial, i);
  }
  EXPECT_EQ(CountsOf(device).attended, 0u);
}

// Answers that are asked for with a submit are there when the client hears of its end.
TEST_F(SessionTest, WhatGoesWithACompletionIsSentBeforeIt) {
  TestClient client(driver_.get());
  TestDevice device(&client);
  QueueOf(device).WithCompletion(1, [&] { client.session().events().Made(7, VK_SUCCESS); });
  wire::QueueSubmitArgs nothing{};
  nothing.queue = device.queue;
  client.Post(Command::kQueueSubmit, &nothing);
  client.WaitFor(wire::EventKind::kCompleted);
  const std::vector<TestEvent> before = client.TakeEvents();
  EXPECT_EQ(std::count_if(before.begin(), before.end(),
                          [](const TestEvent& event) { return event.kind == wire::EventKind::kMade; }),
            1);
}

TEST_F(SessionTest, AHostSignalReleasesASubmitThatTheReaderHasPassed) {
  TestClient client(driver_.get());
  TestDevice device(&client);
  const VkSemaphoreTypeCreateInfo type{VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO, nullptr,
                                       VK_SEMAPHORE_TYPE_TIMELINE, 0};
  const VkSemaphoreCreateInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, &type, 0};
  auto semaphore = client.New<VkSemaphore>(HandleType::kSemaphore);
  wire::CreateSemaphoreArgs make{};
  make.device = device.device;
  make.pCreateInfo = &info;
  make.pSemaphore = &semaphore;
  client.Ask(Command::kCreateSemaphore, &make);
  ASSERT_EQ(make.result, VK_SUCCESS);
  const uint64_t value = 5;
  VkTimelineSemaphoreSubmitInfo values{};
  values.sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO;
  values.waitSemaphoreValueCount = 1;
  values.pWaitSemaphoreValues = &value;
  const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
  VkSubmitInfo submit{};
  submit.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
  submit.pNext = &values;
  submit.waitSemaphoreCount = 1;
  submit.pWaitSemaphores = &semaphore;
  submit.pWaitDstStageMask = &stage;
  wire::QueueSubmitArgs args{};
  args.queue = device.queue;
  args.submitCount = 1;
  args.pSubmits = &submit;
  client.Post(Command::kQueueSubmit, &args);
  client.AskControl(wire::Control::kHeartbeat, nullptr, 0);
  EXPECT_TRUE(client.TakeEvents().empty());
  EXPECT_EQ(CountsOf(device).at_once, 0u)
      << "a driver may block in a submit whose timeline the host has still to signal";
  const VkSemaphoreSignalInfo signal{VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, nullptr, semaphore, 5};
  wire::SignalSemaphoreArgs signal_args{device.device, &signal, VK_SUCCESS};
  client.Post(Command::kSignalSemaphore, &signal_args);
  EXPECT_EQ(client.WaitFor(wire::EventKind::kCompleted).As<wire::Completed>().serial, 1u);
  wire::DestroySemaphoreArgs destroy{};
  destroy.device = device.device;
  destroy.semaphore = semaphore;
  client.Post(Command::kDestroySemaphore, &destroy);
}

TEST_F(SessionTest, ACommandOnADeadObjectIsInertAndASubmitOfOneLosesTheDevice) {
  TestClient client(driver_.get());
  TestDevice device(&client);
  const auto buffer = client.New<VkBuffer>(HandleType::kBuffer);  // never made
  VkMemoryRequirements requirements{};
  wire::GetBufferMemoryRequirementsArgs get{};
  get.device = device.device;
  get.buffer = buffer;
  get.pMemoryRequirements = &requirements;
  EXPECT_EQ(client.Ask(Command::kGetBufferMemoryRequirements, &get), wire::ReplyKind::kInert);
  EXPECT_EQ(client.inert_result(), VK_ERROR_DEVICE_LOST);
  const auto fence = client.New<VkFence>(HandleType::kFence);
  wire::QueueSubmitArgs args{};
  args.queue = device.queue;
  args.fence = fence;
  client.Post(Command::kQueueSubmit, &args);
  const TestEvent lost = client.WaitFor(wire::EventKind::kDeviceLost);
  EXPECT_EQ(lost.As<wire::DeviceLost>().device, TestClient::IdOf(device.device));
}

VkPipeline MakePipelineOfNothing(TestDevice& device) {
  VkComputePipelineCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = device.client->New<VkShaderModule>(HandleType::kShaderModule);  // never made
  info.stage.pName = "main";
  info.layout = device.client->New<VkPipelineLayout>(HandleType::kPipelineLayout);
  auto pipeline = device.client->New<VkPipeline>(HandleType::kPipeline);
  wire::CreateComputePipelinesArgs args{};
  args.device = device.device;
  args.createInfoCount = 1;
  args.pCreateInfos = &info;
  args.pPipelines = &pipeline;
  device.client->Post(Command::kCreateComputePipelines, &args);
  return pipeline;
}

TEST_F(SessionTest, WhatLacksAPipelineThatCouldNotBeMadeIsNotSubmitted) {
  TestClient client(driver_.get());
  TestDevice device(&client);
  const VkBuffer buffer = device.Buffer(4096, device.Allocate(4096), 0);
  const VkPipeline pipeline = MakePipelineOfNothing(device);
  client.Flush();
  const auto made = client.WaitFor(wire::EventKind::kMade).As<wire::Made>();
  ObjectId id;
  std::memcpy(&id, &pipeline, sizeof(id));
  EXPECT_EQ(made.object, id);
  EXPECT_LT(made.result, 0);
  const auto record = [&](VkCommandBuffer commands, bool lacking) {
    if (lacking) {
      wire::CmdBindPipelineArgs bind{commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline};
      client.Post(Command::kCmdBindPipeline, &bind);
      wire::CmdDispatchArgs dispatch{commands, 1, 1, 1};
      client.Post(Command::kCmdDispatch, &dispatch);  // with no pipeline bound drivers crash
    }
    Fill(device, commands, buffer, 4096, 7);
  };
  const VkCommandBuffer whole = device.Begin(), lacking = device.Begin();
  record(whole, false);
  record(lacking, true);
  device.Submit(whole, VK_NULL_HANDLE);
  EXPECT_EQ(client.WaitFor(wire::EventKind::kCompleted).As<wire::Completed>().serial, 1u);
  device.Submit(lacking, VK_NULL_HANDLE);
  EXPECT_EQ(client.WaitFor(wire::EventKind::kDeviceLost).As<wire::DeviceLost>().device,
            TestClient::IdOf(device.device));
}

TEST_F(SessionTest, PipelineCachesAreMadeOnThePoolAndOutliveTheirUse) {
  TestClient client(driver_.get());
  TestDevice device(&client);
  VkPipelineCacheCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO;
  auto cache = client.New<VkPipelineCache>(HandleType::kPipelineCache);
  wire::CreatePipelineCacheArgs make{};
  make.device = device.device;
  make.pCreateInfo = &info;
  make.pPipelineCache = &cache;
  client.Post(Command::kCreatePipelineCache, &make);
  auto other = client.New<VkPipelineCache>(HandleType::kPipelineCache);
  make.pPipelineCache = &other;
  client.Post(Command::kCreatePipelineCache, &make);
  wire::MergePipelineCachesArgs merge{device.device, cache, 1, &other, VK_NOT_READY};
  client.Post(Command::kMergePipelineCaches, &merge);
  for (const VkPipelineCache gone : {cache, other}) {  // while pending or in use
    wire::DestroyPipelineCacheArgs destroy{};
    destroy.device = device.device;
    destroy.pipelineCache = gone;
    client.Post(Command::kDestroyPipelineCache, &destroy);
  }
  wire::DeviceWaitIdleArgs idle{};
  idle.device = device.device;
  EXPECT_EQ(client.Ask(Command::kDeviceWaitIdle, &idle), wire::ReplyKind::kAnswer);
  EXPECT_EQ(client.session().stats().slow, 3u);
  EXPECT_EQ(client.session().stats().inert, 0u);
}

TEST_F(SessionTest, EverythingIsForgottenWhenItIsDestroyed) {
  TestClient client(driver_.get());
  { TestDevice device(&client); }
  { TestDevice device(&client); }
  client.SendRaw(std::vector<uint8_t>{1, 2, 3});
  client.Join();
  EXPECT_NE(client.session().Summary().find(" 0 left"), std::string::npos) << client.session().Summary();
}

TEST_F(SessionTest, TheSlotOfALivingObjectIsNotTaken) {
  TestClient client(driver_.get());
  TestDevice device(&client);
  const VkFence fence = MakeFence(device);
  ObjectId id;
  std::memcpy(&id, &fence, sizeof(id));
  VkFenceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO;
  ObjectId next = MakeObjectId(HandleType::kFence, GenerationOf(id) + 1, SlotOf(id));
  VkFence another;
  std::memcpy(&another, &next, sizeof(another));
  wire::CreateFenceArgs make{};
  make.device = device.device;
  make.pCreateInfo = &info;
  make.pFence = &another;
  wire::DestroyFenceArgs destroy{};
  destroy.device = device.device;
  destroy.fence = fence;
  client.Post(Command::kDestroyFence, &destroy);
  client.Post(Command::kCreateFence, &make);
  client.AskControl(wire::Control::kHeartbeat, nullptr, 0);  // it lives: the first was destroyed
  next = MakeObjectId(HandleType::kFence, GenerationOf(id) + 2, SlotOf(id));
  std::memcpy(&another, &next, sizeof(another));
  client.Post(Command::kCreateFence, &make);
  client.Flush();
  EXPECT_NE(client.Join().find("was not destroyed"), std::string::npos);
}

TEST_F(SessionTest, DevicesHaveALimit) {
  TestClient client(driver_.get());
  TestDevice first(&client);
  const float priority = 1;
  VkDeviceQueueCreateInfo queue{};
  queue.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
  queue.queueCount = 1;
  queue.pQueuePriorities = &priority;
  VkDeviceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queue;
  std::vector<VkDevice> devices;
  VkResult result = VK_SUCCESS;
  while (result == VK_SUCCESS && devices.size() < limits::kMaxDevices + 1) {
    auto device = client.New<VkDevice>(HandleType::kDevice);
    wire::CreateDeviceArgs make{};
    make.physicalDevice = first.physical_device;
    make.pCreateInfo = &info;
    make.pDevice = &device;
    client.Ask(Command::kCreateDevice, &make);
    result = make.result;
    if (result == VK_SUCCESS) devices.push_back(device);
  }
  EXPECT_EQ(result, VK_ERROR_TOO_MANY_OBJECTS);
  EXPECT_EQ(devices.size() + 1, limits::kMaxDevices);
  for (const VkDevice device : devices) {
    wire::DestroyDeviceArgs destroy{};
    destroy.device = device;
    client.Post(Command::kDestroyDevice, &destroy);
  }
  client.AskControl(wire::Control::kHeartbeat, nullptr, 0);
}

TEST_F(SessionTest, MalformedBytesEndTheSessionWithAReason) {
  const auto end_of = [&](std::vector<uint8_t> bytes) {
    TestClient client(driver_.get());
    client.SendRaw(bytes);
    return client.Join();
  };
  EXPECT_NE(end_of({1, 2, 3}).find("ends within a record"), std::string::npos);
  EXPECT_NE(end_of({0xff, 0x7f, 0, 0, 0, 0, 0, 0}).find("command"), std::string::npos);
  EXPECT_NE(end_of({0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}).find("record"), std::string::npos);
  EXPECT_NE(end_of({0, 0, 1, 0, 0, 0, 0, 0}).find("vkCreateInstance"), std::string::npos);
}

}  // namespace
}  // namespace vesper::server
