// Messages of a server's validation layer reach the application's debug messengers and report callbacks: by the thread that
// calls, with the application's own handles, when asked for. The server runs with --validation; each test breaks a rule of
// the specification that drivers shrug off.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/support/vulkan_context.h"
#include "tests/support/vulkan_resources.h"

namespace vesper::test {
namespace {

constexpr std::string_view kEmptyBuffer = "VUID-VkBufferCreateInfo-size-00912";
constexpr std::string_view kBeyondHeap = "VUID-vkAllocateMemory-pAllocateInfo-01713";
constexpr std::string_view kNoTransferTarget = "VUID-vkCmdFillBuffer-dstBuffer-00029";
constexpr VkDebugUtilsMessageSeverityFlagsEXT kErrors = VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
constexpr VkDebugUtilsMessageTypeFlagsEXT kOfValidation = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT;

struct HeardObject {
  VkObjectType type;
  uint64_t handle;
  std::string name;
};

struct Message {
  std::string id;
  std::string text;
  std::vector<HeardObject> objects;
  std::vector<std::string> labels;  // of the command buffer
  std::thread::id thread;
};

// What callbacks heard, of either form.
class Ear {
 public:
  std::function<void()> then;  // runs in the callback

  VkDebugUtilsMessengerCreateInfoEXT Info(VkDebugUtilsMessageSeverityFlagsEXT severities = kErrors,
                                          VkDebugUtilsMessageTypeFlagsEXT types = kOfValidation) {
    VkDebugUtilsMessengerCreateInfoEXT info = {VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT};
    info.messageSeverity = severities;
    info.messageType = types;
    info.pfnUserCallback = &Ear::OnMessage;
    info.pUserData = this;
    return info;
  }
  VkDebugReportCallbackCreateInfoEXT ReportInfo(VkDebugReportFlagsEXT flags) {
    VkDebugReportCallbackCreateInfoEXT info = {VK_STRUCTURE_TYPE_DEBUG_REPORT_CALLBACK_CREATE_INFO_EXT};
    info.flags = flags;
    info.pfnCallback = &Ear::OnReport;
    info.pUserData = this;
    return info;
  }

  // Messages with `what` in their id or text.
  std::vector<Message> Of(std::string_view what) const {
    const std::lock_guard lock(mutex_);
    std::vector<Message> found;
    for (const Message& each : messages_) {
      if (each.id.find(what) != std::string::npos || each.text.find(what) != std::string::npos) found.push_back(each);
    }
    return found;
  }
  size_t Count(std::string_view what = "") const { return Of(what).size(); }

 private:
  static VKAPI_ATTR VkBool32 VKAPI_CALL OnMessage(VkDebugUtilsMessageSeverityFlagBitsEXT,
                                                  VkDebugUtilsMessageTypeFlagsEXT,
                                                  const VkDebugUtilsMessengerCallbackDataEXT* data, void* self) {
    Message message{data->pMessageIdName != nullptr ? data->pMessageIdName : "", data->pMessage, {}, {}, {}};
    for (uint32_t i = 0; i < data->objectCount; ++i) {
      const VkDebugUtilsObjectNameInfoEXT& object = data->pObjects[i];
      message.objects.push_back(
          {object.objectType, object.objectHandle, object.pObjectName != nullptr ? object.pObjectName : ""});
    }
    for (uint32_t i = 0; i < data->cmdBufLabelCount; ++i)
      message.labels.emplace_back(data->pCmdBufLabels[i].pLabelName);
    return static_cast<Ear*>(self)->Hear(std::move(message));
  }
  static VKAPI_ATTR VkBool32 VKAPI_CALL OnReport(VkDebugReportFlagsEXT, VkDebugReportObjectTypeEXT type,
                                                 uint64_t object, size_t, int32_t, const char* prefix, const char* text,
                                                 void* self) {
    // The types of objects that these tests meet have the same numbers in both enumerations.
    return static_cast<Ear*>(self)->Hear({prefix, text, {{static_cast<VkObjectType>(type), object, ""}}, {}, {}});
  }
  VkBool32 Hear(Message message) {
    message.thread = std::this_thread::get_id();
    {
      const std::lock_guard lock(mutex_);
      messages_.push_back(std::move(message));
    }
    if (then) then();
    return VK_FALSE;
  }

  mutable std::mutex mutex_;
  std::vector<Message> messages_;
};

template <typename Handle>
uint64_t Raw(Handle handle) {
  return reinterpret_cast<uint64_t>(handle);
}

class DebugTest : public testing::Test {
 protected:
  void SetUp() override { Open(true); }
  void TearDown() override { unsetenv("VESPER_VALIDATION"); }

  // A session that asks for the server's messages, or does not.
  void Open(bool asking) {
    gpu_.reset();
    if (asking) {
      setenv("VESPER_VALIDATION", "1", 1);
    } else {
      unsetenv("VESPER_VALIDATION");
    }
    ContextOptions options;
    options.instance_extensions = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME, VK_EXT_DEBUG_REPORT_EXTENSION_NAME};
    gpu_ = std::make_unique<Context>(options);
  }
  Context& gpu() { return *gpu_; }
  VkDevice device() { return gpu_->device(); }

  template <typename Function>
  Function Get(const char* name) {
    return gpu_->InstanceFunction<Function>(name);
  }
  Owned<VkDebugUtilsMessengerEXT, VkInstance> Listen(const VkDebugUtilsMessengerCreateInfoEXT& info) {
    VkDebugUtilsMessengerEXT messenger = VK_NULL_HANDLE;
    VK_CHECK(Get<PFN_vkCreateDebugUtilsMessengerEXT>("vkCreateDebugUtilsMessengerEXT")(gpu_->instance(), &info, nullptr,
                                                                                       &messenger));
    return {gpu_->instance(), messenger, Get<PFN_vkDestroyDebugUtilsMessengerEXT>("vkDestroyDebugUtilsMessengerEXT")};
  }

  // Waits for no reply.
  void MakeEmptyBuffer() {
    VkBufferCreateInfo info = {VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
    info.usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT;
    VkBuffer buffer = VK_NULL_HANDLE;
    if (vkCreateBuffer(device(), &info, nullptr, &buffer) == VK_SUCCESS) vkDestroyBuffer(device(), buffer, nullptr);
  }
  // Waits for a reply; `extra` bytes more than the largest heap has.
  void AllocateBeyondHeap(VkDeviceSize extra = 1) {
    const VkPhysicalDeviceMemoryProperties& properties = gpu_->memory_properties();
    VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
    info.allocationSize = properties.memoryHeaps[properties.memoryTypes[0].heapIndex].size + extra;
    VkDeviceMemory memory = VK_NULL_HANDLE;
    if (vkAllocateMemory(device(), &info, nullptr, &memory) == VK_SUCCESS) vkFreeMemory(device(), memory, nullptr);
  }
  // A call that waits for the server, and breaks no rule.
  void RoundTrip() {
    const VkMemoryDedicatedAllocateInfo asks = {VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO};  // not on credit
    VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, &asks};
    info.allocationSize = 4096;
    VkDeviceMemory memory = VK_NULL_HANDLE;
    VK_CHECK(vkAllocateMemory(device(), &info, nullptr, &memory));
    vkFreeMemory(device(), memory, nullptr);
  }

 private:
  std::unique_ptr<Context> gpu_;
};

TEST_F(DebugTest, AMessageComesBeforeTheCallThatCausedItReturns) {
  Ear ear;
  const auto messenger = Listen(ear.Info());
  AllocateBeyondHeap();
  const std::vector<Message> heard = ear.Of(kBeyondHeap);
  ASSERT_EQ(heard.size(), 1u);
  EXPECT_EQ(heard[0].thread, std::this_thread::get_id());
  ASSERT_FALSE(heard[0].objects.empty());
  EXPECT_EQ(heard[0].objects[0].type, VK_OBJECT_TYPE_DEVICE);
  EXPECT_EQ(heard[0].objects[0].handle, Raw(device()));
}

TEST_F(DebugTest, MessagesOfCallsThatDoNotWaitComeWithALaterOne) {
  Ear ear;
  const auto messenger = Listen(ear.Info());
  MakeEmptyBuffer();
  RoundTrip();
  ASSERT_EQ(ear.Count(kEmptyBuffer), 1u);
  EXPECT_EQ(ear.Of(kEmptyBuffer)[0].thread, std::this_thread::get_id());
}

TEST_F(DebugTest, NamesLabelsAndHandlesAreTheApplications) {
  Ear ear;
  const auto messenger = Listen(ear.Info());
  const Buffer buffer = MakeBuffer(gpu(), 64, VK_BUFFER_USAGE_TRANSFER_SRC_BIT, Placement::kHost);
  VkDebugUtilsObjectNameInfoEXT name = {VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT};
  name.objectType = VK_OBJECT_TYPE_BUFFER;
  name.objectHandle = Raw(buffer.handle.get());
  name.pObjectName = "only a source";
  VK_CHECK(Get<PFN_vkSetDebugUtilsObjectNameEXT>("vkSetDebugUtilsObjectNameEXT")(device(), &name));
  const Owned<VkCommandPool> pool = MakeCommandPool(gpu());
  const VkCommandBuffer commands = AllocateCommands(gpu(), pool);
  BeginCommands(commands);
  VkDebugUtilsLabelEXT label = {VK_STRUCTURE_TYPE_DEBUG_UTILS_LABEL_EXT};
  label.pLabelName = "filling";
  Get<PFN_vkCmdBeginDebugUtilsLabelEXT>("vkCmdBeginDebugUtilsLabelEXT")(commands, &label);
  vkCmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, 7);
  Get<PFN_vkCmdEndDebugUtilsLabelEXT>("vkCmdEndDebugUtilsLabelEXT")(commands);
  VK_CHECK(vkEndCommandBuffer(commands));
  RoundTrip();
  const std::vector<Message> heard = ear.Of(kNoTransferTarget);
  ASSERT_EQ(heard.size(), 1u);
  const auto find = [&](VkObjectType type) { return std::ranges::find(heard[0].objects, type, &HeardObject::type); };
  const auto named = find(VK_OBJECT_TYPE_BUFFER);
  ASSERT_NE(named, heard[0].objects.end());
  EXPECT_EQ(named->handle, Raw(buffer.handle.get()));
  EXPECT_EQ(named->name, "only a source");
  const auto recorder = find(VK_OBJECT_TYPE_COMMAND_BUFFER);
  if (recorder != heard[0].objects.end()) {  // older layers name the buffer alone
    EXPECT_EQ(recorder->handle, Raw(commands));
    EXPECT_EQ(heard[0].labels, std::vector<std::string>{"filling"});
  }
}

TEST_F(DebugTest, MasksHold) {
  Ear wanting, other_types, other_severities;
  const auto first = Listen(wanting.Info());
  const auto second = Listen(other_types.Info(kErrors, VK_DEBUG_UTILS_MESSAGE_TYPE_GENERAL_BIT_EXT));
  const auto third = Listen(other_severities.Info(VK_DEBUG_UTILS_MESSAGE_SEVERITY_VERBOSE_BIT_EXT));
  MakeEmptyBuffer();
  AllocateBeyondHeap();
  EXPECT_EQ(wanting.Count(), 2u);
  EXPECT_EQ(other_types.Count(), 0u);
  EXPECT_EQ(other_severities.Count(), 0u);
}

TEST_F(DebugTest, ReportCallbacksHearTheSame) {
  Ear wanting, other;
  const auto create = Get<PFN_vkCreateDebugReportCallbackEXT>("vkCreateDebugReportCallbackEXT");
  const auto destroy = Get<PFN_vkDestroyDebugReportCallbackEXT>("vkDestroyDebugReportCallbackEXT");
  VkDebugReportCallbackEXT callbacks[2] = {};
  const VkDebugReportCallbackCreateInfoEXT infos[2] = {wanting.ReportInfo(VK_DEBUG_REPORT_ERROR_BIT_EXT),
                                                       other.ReportInfo(VK_DEBUG_REPORT_DEBUG_BIT_EXT)};
  for (int i = 0; i < 2; ++i) VK_CHECK(create(gpu().instance(), &infos[i], nullptr, &callbacks[i]));
  AllocateBeyondHeap();
  const std::vector<Message> heard = wanting.Of(kBeyondHeap);
  ASSERT_EQ(heard.size(), 1u);
  EXPECT_EQ(heard[0].objects[0].type, VK_OBJECT_TYPE_DEVICE);
  EXPECT_EQ(heard[0].objects[0].handle, Raw(device()));
  EXPECT_EQ(other.Count(), 0u);
  for (VkDebugReportCallbackEXT callback : callbacks) destroy(gpu().instance(), callback, nullptr);
  AllocateBeyondHeap();
  EXPECT_EQ(wanting.Count(kBeyondHeap), 1u) << "after the callback was destroyed";
}

TEST_F(DebugTest, ADestroyedMessengerHearsNothingAndANewOneDoes) {
  Ear first, second;
  auto messenger = Listen(first.Info());
  MakeEmptyBuffer();
  messenger.Reset();
  EXPECT_EQ(first.Count(kEmptyBuffer), 1u) << "it was there when the call was made";
  AllocateBeyondHeap();
  EXPECT_EQ(first.Count(kBeyondHeap), 0u);
  messenger = Listen(second.Info());
  AllocateBeyondHeap();
  EXPECT_EQ(first.Count(kBeyondHeap), 0u);
  EXPECT_EQ(second.Count(kBeyondHeap), 1u);
}

// The usual order at a program's end: what a device leaked is heard although nothing waited for its destruction.
TEST_F(DebugTest, LeaksOfADeviceAreHeardBeforeTheMessengerGoes) {
  Ear ear;
  auto messenger = Listen(ear.Info());
  const float priority = 1.0f;
  VkDeviceQueueCreateInfo queue = {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
  queue.queueFamilyIndex = gpu().queue_family();
  queue.queueCount = 1;
  queue.pQueuePriorities = &priority;
  VkDeviceCreateInfo info = {VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queue;
  VkDevice other = VK_NULL_HANDLE;
  VK_CHECK(vkCreateDevice(gpu().physical_device(), &info, nullptr, &other));
  VkBufferCreateInfo buffer_info = {VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  buffer_info.size = 64;
  buffer_info.usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT;
  VkBuffer buffer = VK_NULL_HANDLE;
  VK_CHECK(vkCreateBuffer(other, &buffer_info, nullptr, &buffer));
  vkDestroyDevice(other, nullptr);
  messenger.Reset();
  EXPECT_GE(ear.Count("VUID-vkDestroyDevice-device-00378"), 1u);
}

TEST_F(DebugTest, AnInstancesOwnMessengersHearItsCreation) {
  Ear ear, report_ear;
  const VkDebugReportCallbackCreateInfoEXT report = report_ear.ReportInfo(VK_DEBUG_REPORT_ERROR_BIT_EXT);
  VkDebugUtilsMessengerCreateInfoEXT messenger = ear.Info();
  messenger.pNext = &report;
  const char* extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME, VK_EXT_DEBUG_REPORT_EXTENSION_NAME};
  VkInstanceCreateInfo info = {VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  info.pNext = &messenger;
  info.flags = 0x4000'0000;  // nothing known
  info.enabledExtensionCount = 2;
  info.ppEnabledExtensionNames = extensions;
  VkInstance instance = VK_NULL_HANDLE;
  VK_CHECK(vkCreateInstance(&info, nullptr, &instance));
  EXPECT_EQ(ear.Count("VUID-VkInstanceCreateInfo-flags-parameter"), 1u);
  EXPECT_EQ(report_ear.Count("VUID-VkInstanceCreateInfo-flags-parameter"), 1u);
  const size_t heard = ear.Count();
  ChooseDevice(instance);
  EXPECT_EQ(ear.Count(), heard) << "after the creation";
  vkDestroyInstance(instance, nullptr);
}

TEST_F(DebugTest, ACallbackMayCallVulkan) {
  Ear ear;
  int depth = 0, deepest = 0, calls = 0;
  ear.then = [&] {
    deepest = std::max(deepest, ++depth);
    if (++calls <= 2) {
      AllocateBeyondHeap();  // causes another message
      MakeEmptyBuffer();
      vkDeviceWaitIdle(device());
    }
    --depth;
  };
  const auto messenger = Listen(ear.Info());
  AllocateBeyondHeap();
  EXPECT_EQ(ear.Count(kBeyondHeap), 3u);
  EXPECT_EQ(deepest, 1) << "a callback was called within a callback";
  RoundTrip();
  EXPECT_EQ(ear.Count(kEmptyBuffer), 2u);
}

// Other threads' calls do not take a message away from the call that caused it.
TEST_F(DebugTest, EachThreadHearsWhatItWaitedFor) {
  Ear ear;
  const auto messenger = Listen(ear.Info());
  std::vector<std::thread> threads;
  std::vector<int> missing(4, 0);
  for (size_t t = 0; t < missing.size(); ++t) {
    threads.emplace_back([&, t] {
      for (VkDeviceSize i = 0; i < 2; ++i) {
        const VkDeviceSize extra = 1 + 2 * t + i;
        AllocateBeyondHeap(extra);
        const VkPhysicalDeviceMemoryProperties& properties = gpu().memory_properties();
        const VkDeviceSize size = properties.memoryHeaps[properties.memoryTypes[0].heapIndex].size + extra;
        const std::vector<Message> heard = ear.Of(std::to_string(size));
        if (heard.size() != 1 || heard[0].thread != std::this_thread::get_id()) ++missing[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(missing, std::vector<int>(4, 0));
}

TEST_F(DebugTest, WhoDoesNotAskIsNotTold) {
  Open(false);
  Ear ear;
  const auto messenger = Listen(ear.Info());
  MakeEmptyBuffer();
  AllocateBeyondHeap();
  EXPECT_EQ(ear.Count(), 0u);
}

}  // namespace
}  // namespace vesper::test
