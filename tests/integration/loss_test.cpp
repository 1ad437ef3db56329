// A server that dies, hangs or cannot be reached any more: every call returns, within a second where something died, with
// VK_ERROR_DEVICE_LOST; other sessions go on; nothing is left.
#include <signal.h>

#include "tests/integration/failure.h"
#include "tests/support/cut_line.h"
#include "tests/support/statistics_file.h"

namespace vesper::test {
namespace {

// Calls that are blocked, each on a thread of its own, until the test makes them end.
class BlockedCalls {
 public:
  explicit BlockedCalls(Context& context) : context_(context) {
    const VkDevice device = context.device();
    pool_ = MakeCommandPool(context);
    VkEventCreateInfo event_info = {VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
    event_ = Create<VkEvent>(device, vkCreateEvent, vkDestroyEvent, event_info);
    fence_ = MakeFence(context);
    VkSemaphoreTypeCreateInfo type = {VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO};
    type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE;
    VkSemaphoreCreateInfo info = {VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
    info.pNext = &type;
    timeline_ = Create<VkSemaphore>(device, vkCreateSemaphore, vkDestroySemaphore, info);
    SubmitUntilSignalled();
    calls_.emplace_back("vkWaitForFences",
                        [=, this] { return vkWaitForFences(device, 1, fence_.address(), VK_TRUE, UINT64_MAX); });
    calls_.emplace_back("vkWaitSemaphores", [=, this] {
      const uint64_t value = 7;
      VkSemaphoreWaitInfo wait = {VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO};
      wait.semaphoreCount = 1;
      wait.pSemaphores = timeline_.address();
      wait.pValues = &value;
      return vkWaitSemaphores(device, &wait, UINT64_MAX);
    });
    calls_.emplace_back("vkQueueWaitIdle", [queue = context.queue()] { return vkQueueWaitIdle(queue); });
    calls_.emplace_back("vkDeviceWaitIdle", [=] { return vkDeviceWaitIdle(device); });
  }

  // Calls that wait for a reply: for a server that does not answer.
  void AddQuestions() {
    const VkDevice device = context_.device();
    memory_ = std::make_unique<Buffer>();
    calls_.emplace_back("vkAllocateMemory", [=, this] {
      const VkMemoryDedicatedAllocateInfo asks = {VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO};  // not on credit
      VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, &asks};
      info.allocationSize = 4096;
      info.memoryTypeIndex = context_.FindMemoryType(UINT32_MAX, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT);
      VkDeviceMemory memory = VK_NULL_HANDLE;
      const VkResult result = vkAllocateMemory(device, &info, nullptr, &memory);
      return result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY ? VK_ERROR_DEVICE_LOST
                                                                                              : result;
    });
  }
  void AddMap(VkDeviceMemory memory) {
    calls_.emplace_back("vkMapMemory", [device = context_.device(), memory] {
      void* data = nullptr;
      const VkResult result = vkMapMemory(device, memory, 0, VK_WHOLE_SIZE, 0, &data);
      return result == VK_ERROR_MEMORY_MAP_FAILED || result == VK_ERROR_OUT_OF_DEVICE_MEMORY ? VK_ERROR_DEVICE_LOST
                                                                                             : result;
    });
  }

  void ExpectBlocked() {
    for (Call& call : calls_) EXPECT_EQ(call.thread->Result(milliseconds(50)), VK_RESULT_MAX_ENUM) << call.name;
  }
  // `by`: when the last must have ended.
  void ExpectLost(Clock::time_point by) {
    for (Call& call : calls_) {
      const auto left = std::chrono::duration_cast<milliseconds>(by - Clock::now());
      EXPECT_EQ(call.thread->Result(std::max(left, milliseconds(1))), VK_ERROR_DEVICE_LOST) << call.name;
    }
  }

 private:
  struct Call {
    Call(const char* what, std::function<VkResult()> work)
        : name(what), thread(std::make_unique<Watched>(std::move(work))) {}
    const char* name;
    std::unique_ptr<Watched> thread;
  };

  // A submit that waits for a timeline semaphore that nobody signals: drivers may not accept an event that is never set.
  void SubmitUntilSignalled() {
    const uint64_t value = 5;
    VkTimelineSemaphoreSubmitInfo values = {VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
    values.waitSemaphoreValueCount = 1;
    values.pWaitSemaphoreValues = &value;
    const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    VkSubmitInfo info = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
    info.pNext = &values;
    info.waitSemaphoreCount = 1;
    info.pWaitSemaphores = timeline_.address();
    info.pWaitDstStageMask = &stage;
    VK_CHECK(vkQueueSubmit(context_.queue(), 1, &info, fence_));
  }

  Context& context_;
  Owned<VkCommandPool> pool_;
  Owned<VkEvent> event_;
  Owned<VkFence> fence_;
  Owned<VkSemaphore> timeline_;
  std::unique_ptr<Buffer> memory_;
  std::vector<Call> calls_;
};

class LossTest : public FailureTest {
 protected:
  // What a program may still do with a lost device: ask, create and destroy without harm.
  void UseLost(Context& context) {
    const VkDevice device = context.device();
    VkFence fence = VK_NULL_HANDLE;
    VkFenceCreateInfo info = {VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    if (vkCreateFence(device, &info, nullptr, &fence) == VK_SUCCESS) {
      EXPECT_EQ(vkWaitForFences(device, 1, &fence, VK_TRUE, UINT64_MAX), VK_ERROR_DEVICE_LOST);
      vkDestroyFence(device, fence, nullptr);
    }
    EXPECT_EQ(vkQueueSubmit(context.queue(), 0, nullptr, VK_NULL_HANDLE), VK_ERROR_DEVICE_LOST);
    EXPECT_EQ(vkDeviceWaitIdle(device), VK_ERROR_DEVICE_LOST);
  }
};

TEST_P(LossTest, AKilledWorkerWakesEverybodyAndNobodyElse) {
  Start();
  Context other;
  ASSERT_EQ(Workers().size(), 1u);
  const pid_t others = Workers().front();
  Context context;
  const std::vector<pid_t> workers = Workers();
  ASSERT_EQ(workers.size(), 2u);
  const pid_t victim = workers[workers[0] == others ? 1 : 0];
  const size_t descriptors = DescriptorsOf(server().pid());
  {
    BlockedCalls calls(context);
    calls.ExpectBlocked();
    kill(victim, SIGKILL);
    calls.ExpectLost(Clock::now() + kNoticed);
  }
  UseLost(context);
  context.Close();
  EXPECT_TRUE(LogSays("ended with signal 9"));
  RunCommands(other, [](VkCommandBuffer) {});
  ExpectServing();
  other.Close();
  EXPECT_TRUE(Within(milliseconds(3000), [&] { return Workers().empty(); }));
  EXPECT_TRUE(Within(milliseconds(3000), [&] { return DescriptorsOf(server().pid()) <= descriptors; }))
      << DescriptorsOf(server().pid()) << " descriptors, " << descriptors << " before";
}

TEST_P(LossTest, AKilledSupervisorTakesItsWorkersAlong) {
  Start();
  Context context;
  const std::vector<pid_t> workers = Workers();
  ASSERT_EQ(workers.size(), 1u);
  const std::set<pid_t> children = ChildrenOf(server().pid());
  {
    BlockedCalls calls(context);
    calls.ExpectBlocked();
    kill(server().pid(), SIGKILL);
    calls.ExpectLost(Clock::now() + kNoticed);
  }
  UseLost(context);
  context.Close();
  for (const pid_t child : children) EXPECT_TRUE(Within(kNoticed, [&] { return !IsAlive(child); })) << child;
  EXPECT_EQ(server().Stop(), 128 + SIGKILL);
  const auto start = Clock::now();
  VkInstance instance = VK_NULL_HANDLE;
  VkInstanceCreateInfo info = {VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  EXPECT_EQ(vkCreateInstance(&info, nullptr, &instance), VK_ERROR_INCOMPATIBLE_DRIVER);
  EXPECT_LT(Clock::now() - start, milliseconds(2000));
}

TEST_P(LossTest, ACutConnectionIsNoticedOnBothSides) {
  Start({.arguments = {"--resume-for", "0"}});
  std::string error;
  const std::unique_ptr<CutLine> line = CutLine::To(address(), &error);
  ASSERT_NE(line, nullptr) << error;
  setenv("VESPER_SERVER", line->address().c_str(), 1);
  Context context;
  {
    BlockedCalls calls(context);
    calls.ExpectBlocked();
    line->Cut();
    calls.ExpectLost(Clock::now() + kNoticed);
  }
  UseLost(context);
  EXPECT_TRUE(Within(milliseconds(15000), [&] { return Workers().empty(); }));
  EXPECT_TRUE(LogSays("ended: the connection ended"));
  context.Close();
  setenv("VESPER_SERVER", address().c_str(), 1);
  ExpectServing();
}

TEST_P(LossTest, AStoppedWorkerIsLostAfterTheGracePeriod) {
  setenv("VESPER_MEMORY", "memcmp", 1);  // mapping shared memory asks nothing
  setenv("VESPER_GRACE", "1", 1);
  Start();
  Context context;
  const Buffer buffer = MakeBuffer(context, 1 << 20, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  vkUnmapMemory(context.device(), buffer.memory);
  const pid_t worker = Workers().at(0);
  {
    BlockedCalls calls(context);
    calls.ExpectBlocked();
    kill(worker, SIGSTOP);
    calls.AddQuestions();
    calls.AddMap(buffer.memory);
    calls.ExpectBlocked();
    calls.ExpectLost(Clock::now() + milliseconds(5000));
  }
  UseLost(context);
  kill(worker, SIGCONT);
  EXPECT_TRUE(Within(milliseconds(15000), [&] { return !IsAlive(worker); }));
}

// A relay passes bytes and no descriptors: neither ring nor memory is shared then, and everything works.
TEST_P(LossTest, ARelayBetweenClientAndServerIsBorne) {
  Start();
  std::string error;
  const std::unique_ptr<CutLine> line = CutLine::To(address(), &error);
  ASSERT_NE(line, nullptr) << error;
  setenv("VESPER_SERVER", line->address().c_str(), 1);
  Context context;
  const Buffer buffer = MakeBuffer(context, 4096, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  RunCommands(context,
              [&](VkCommandBuffer commands) { vkCmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, 0x1234); });
  EXPECT_EQ(buffer.As<uint32_t>()[1023], 0x1234u);
}

// The statistics' round trips are those that a line between both ends sees.
TEST_P(LossTest, RoundTripsAreWhatALineSees) {
  constexpr uint64_t kQuestions = 60;
  const StatisticsFile file;
  Start();
  std::string error;
  const std::unique_ptr<CutLine> line = CutLine::To(address(), &error);
  ASSERT_NE(line, nullptr) << error;
  setenv("VESPER_SERVER", line->address().c_str(), 1);
  uint64_t trips[2] = {}, turns[2] = {}, waited[2] = {};
  { Context first; }  // so that the file exists
  for (const uint64_t questions : {uint64_t{1}, kQuestions + 1}) {
    const size_t i = questions == 1 ? 0 : 1;
    const uint64_t trips_before = file.Total("round_trips"), turns_before = line->turns();
    const uint64_t waited_before = file.OfCommand("vkAllocateMemory", "stalled_ns");
    {
      Context context;
      for (uint64_t each = 0; each < questions; ++each) {
        const VkMemoryDedicatedAllocateInfo asks = {VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO};  // not on credit
        VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, &asks};
        info.allocationSize = 4096;
        VkDeviceMemory memory = VK_NULL_HANDLE;
        VK_CHECK(vkAllocateMemory(context.device(), &info, nullptr, &memory));
        vkFreeMemory(context.device(), memory, nullptr);
      }
    }
    trips[i] = file.Total("round_trips") - trips_before;
    turns[i] = line->turns() - turns_before;
    waited[i] = file.OfCommand("vkAllocateMemory", "stalled_ns") - waited_before;
  }
  EXPECT_EQ(trips[1] - trips[0], kQuestions);
  EXPECT_NE(waited[1], 0u);
  // What the server says unasked may make a few more.
  EXPECT_GE(turns[1] - turns[0], kQuestions);
  EXPECT_LE(turns[1] - turns[0], kQuestions + kQuestions / 4);
}

// What every program does first; the code of the first thing that failed.
int StartUp() {
  VkApplicationInfo application = {VK_STRUCTURE_TYPE_APPLICATION_INFO};
  application.apiVersion = VK_API_VERSION_1_3;
  VkInstanceCreateInfo info = {VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  info.pApplicationInfo = &application;
  VkInstance instance = VK_NULL_HANDLE;
  if (vkCreateInstance(&info, nullptr, &instance) < 0) return 1;
  uint32_t count = 1;
  VkPhysicalDevice physical_device = VK_NULL_HANDLE;
  if (vkEnumeratePhysicalDevices(instance, &count, &physical_device) < 0 || count == 0) return 2;
  VkPhysicalDeviceProperties properties;
  vkGetPhysicalDeviceProperties(physical_device, &properties);
  uint32_t extensions = 0;
  vkEnumerateDeviceExtensionProperties(physical_device, nullptr, &extensions, nullptr);
  const float priority = 1;
  VkDeviceQueueCreateInfo queue_info = {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
  queue_info.queueCount = 1;
  queue_info.pQueuePriorities = &priority;
  VkDeviceCreateInfo device_info = {VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
  device_info.queueCreateInfoCount = 1;
  device_info.pQueueCreateInfos = &queue_info;
  VkDevice device = VK_NULL_HANDLE;
  if (vkCreateDevice(physical_device, &device_info, nullptr, &device) < 0) return 3;
  VkQueue queue = VK_NULL_HANDLE;
  vkGetDeviceQueue(device, 0, 0, &queue);
  vkDeviceWaitIdle(device);
  vkDestroyDevice(device, nullptr);
  vkDestroyInstance(instance, nullptr);
  return 0;
}

// Wherever the server is lost while a program starts, it is told by an error: loaders neither spin nor crash.
TEST_P(LossTest, AStartThatIsCutAnywhereFailsInOrder) {
  Start({.arguments = {"--resume-for", "0"}});
  std::string error;
  const std::unique_ptr<CutLine> line = CutLine::To(address(), &error);
  ASSERT_NE(line, nullptr) << error;
  setenv("VESPER_SERVER", line->address().c_str(), 1);
  int last = 1;
  int answers = 0;
  for (; last != 0 && answers < 40; ++answers) {
    line->CutAfter(answers);
    last = InForkedChild(StartUp);
    EXPECT_LE(last, 3) << "cut after " << answers << " answers";
  }
  EXPECT_EQ(last, 0) << "a start needs fewer answers than this";
  EXPECT_GT(answers, 6) << "the line is not cut where it should be";
}

// A stop that is shorter than the grace period costs nothing but its time.
TEST_P(LossTest, AWorkerThatIsStoppedForAMomentIsWaitedFor) {
  Start();
  Context context;
  const Buffer buffer = MakeBuffer(context, 4096, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  const pid_t worker = Workers().at(0);
  kill(worker, SIGSTOP);
  Watched work([&] {
    RunCommands(context,
                [&](VkCommandBuffer commands) { vkCmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, 0x1234); });
    return VK_SUCCESS;
  });
  EXPECT_EQ(work.Result(milliseconds(700)), VK_RESULT_MAX_ENUM);
  kill(worker, SIGCONT);
  EXPECT_EQ(work.Result(milliseconds(10000)), VK_SUCCESS);
  EXPECT_EQ(buffer.As<uint32_t>()[1023], 0x1234u);
}

// Killed while it owes answers.
TEST_P(LossTest, QuestionsInProgressEndWhenTheWorkerDies) {
  setenv("VESPER_MEMORY", "memcmp", 1);  // mapping shared memory asks nothing
  Start();
  Context context;
  const Buffer buffer = MakeBuffer(context, 1 << 20, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  vkUnmapMemory(context.device(), buffer.memory);
  const pid_t worker = Workers().at(0);
  kill(worker, SIGSTOP);
  {
    BlockedCalls calls(context);
    calls.AddQuestions();
    calls.AddMap(buffer.memory);
    calls.ExpectBlocked();
    kill(worker, SIGKILL);
    calls.ExpectLost(Clock::now() + kNoticed);
  }
  UseLost(context);
}

// Others are not concerned.
TEST_P(LossTest, ASubmitThatKeepsItsQueueTooLongEndsItsSession) {
  RemoteServer::Options options;
  options.arguments = {"--max-gpu-time", "1"};
  Start(options);
  Context other;
  Context context;
  {
    BlockedCalls calls(context);
    calls.ExpectLost(Clock::now() + milliseconds(15000));
  }
  UseLost(context);
  EXPECT_TRUE(LogSays("a submit has kept its queue for more than 1 s (--max-gpu-time)"));
  RunCommands(other, [](VkCommandBuffer) {});
  ExpectServing();
}

INSTANTIATE_TEST_SUITE_P(Transports, LossTest, testing::Values("unix", "tcp", "tls"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace vesper::test
