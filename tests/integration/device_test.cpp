// Instances, devices and what they say of themselves; names, messengers, private data, groups.
#include <algorithm>
#include <cstring>
#include <set>
#include <string>

#include "tests/integration/gpu_test.h"

namespace vesper::test {
namespace {

class DeviceTest : public GpuTest {};

TEST_F(DeviceTest, PhysicalDevicesKeepTheirHandles) {
  uint32_t count = 0;
  VK_CHECK(vkEnumeratePhysicalDevices(gpu().instance(), &count, nullptr));
  ASSERT_GE(count, 1u);
  std::vector<VkPhysicalDevice> first(count), second(count);
  VK_CHECK(vkEnumeratePhysicalDevices(gpu().instance(), &count, first.data()));
  VK_CHECK(vkEnumeratePhysicalDevices(gpu().instance(), &count, second.data()));
  EXPECT_EQ(first, second);
  uint32_t none = 0;
  EXPECT_EQ(vkEnumeratePhysicalDevices(gpu().instance(), &none, first.data()), VK_INCOMPLETE);

  uint32_t group_count = 0;
  VK_CHECK(vkEnumeratePhysicalDeviceGroups(gpu().instance(), &group_count, nullptr));
  std::vector<VkPhysicalDeviceGroupProperties> groups(group_count,
                                                      {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_GROUP_PROPERTIES});
  VK_CHECK(vkEnumeratePhysicalDeviceGroups(gpu().instance(), &group_count, groups.data()));
  uint32_t members = 0;
  for (const auto& group : groups) {
    for (uint32_t i = 0; i < group.physicalDeviceCount; ++i) {
      EXPECT_EQ(std::ranges::count(first, group.physicalDevices[i]), 1) << "an unknown device";
      ++members;
    }
  }
  EXPECT_EQ(members, count);
}

TEST_F(DeviceTest, QueuesKeepTheirHandles) {
  VkQueue again = VK_NULL_HANDLE;
  vkGetDeviceQueue(device(), gpu().queue_family(), 0, &again);
  EXPECT_EQ(again, gpu().queue());
  VkDeviceQueueInfo2 info = {VK_STRUCTURE_TYPE_DEVICE_QUEUE_INFO_2};
  info.queueFamilyIndex = gpu().queue_family();
  vkGetDeviceQueue2(device(), &info, &again);
  EXPECT_EQ(again, gpu().queue());
}

TEST_F(DeviceTest, NamesResolveByWhatIsEnabled) {
  EXPECT_NE(vkGetInstanceProcAddr(nullptr, "vkCreateInstance"), nullptr);
  EXPECT_NE(vkGetDeviceProcAddr(device(), "vkCreateBuffer"), nullptr);
  EXPECT_EQ(vkGetDeviceProcAddr(device(), "vkNoSuchCommand"), nullptr);
  EXPECT_EQ(vkGetDeviceProcAddr(device(), "vkCmdPushDescriptorSetKHR"), nullptr) << "not enabled";
  EXPECT_EQ(vkGetDeviceProcAddr(device(), "vkEnumeratePhysicalDevices"), nullptr) << "not a device command";
}

TEST_F(DeviceTest, ExtensionListInPieces) {
  uint32_t count = 0;
  VK_CHECK(vkEnumerateDeviceExtensionProperties(gpu().physical_device(), nullptr, &count, nullptr));
  std::vector<VkExtensionProperties> all(count);
  VK_CHECK(vkEnumerateDeviceExtensionProperties(gpu().physical_device(), nullptr, &count, all.data()));
  std::set<std::string> names;
  for (const auto& extension : all) EXPECT_TRUE(names.insert(extension.extensionName).second);
  uint32_t three = 3;
  std::vector<VkExtensionProperties> some(4);
  std::strcpy(some[3].extensionName, "untouched");
  EXPECT_EQ(vkEnumerateDeviceExtensionProperties(gpu().physical_device(), nullptr, &three, some.data()), VK_INCOMPLETE);
  EXPECT_EQ(three, 3u);
  EXPECT_STREQ(some[0].extensionName, all[0].extensionName);
  EXPECT_STREQ(some[3].extensionName, "untouched");
}

TEST_F(DeviceTest, OldAndNewQueriesAgree) {
  VkPhysicalDeviceDriverProperties driver = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
  VkPhysicalDeviceVulkan12Properties v12 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES};
  v12.pNext = &driver;
  VkPhysicalDeviceProperties2 properties = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
  properties.pNext = &v12;
  vkGetPhysicalDeviceProperties2(gpu().physical_device(), &properties);
  EXPECT_STREQ(properties.properties.deviceName, gpu().properties().deviceName);
  EXPECT_EQ(properties.properties.limits.maxImageDimension2D, gpu().properties().limits.maxImageDimension2D);
  EXPECT_STREQ(driver.driverName, v12.driverName);
  EXPECT_EQ(driver.driverID, v12.driverID);
  EXPECT_EQ(properties.pNext, &v12);  // the caller's chain is as it was
  EXPECT_EQ(v12.pNext, &driver);

  VkPhysicalDeviceFeatures features;
  vkGetPhysicalDeviceFeatures(gpu().physical_device(), &features);
  EXPECT_EQ(std::memcmp(&features, &gpu().features().core.features, sizeof features), 0);
  VkPhysicalDeviceMemoryProperties2 memory = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
  vkGetPhysicalDeviceMemoryProperties2(gpu().physical_device(), &memory);
  EXPECT_EQ(memory.memoryProperties.memoryTypeCount, gpu().memory_properties().memoryTypeCount);
}

// Programs give such structs defaults and rely on them; this extension is for drivers on top of other APIs.
TEST_F(DeviceTest, StructsOfExtensionsThatAreMissingAreLeftAlone) {
  constexpr auto kMissing = static_cast<VkStructureType>(1000163001);  // VkPhysicalDevicePortabilitySubsetPropertiesKHR
  if (HasDeviceExtension(gpu().physical_device(), "VK_KHR_portability_subset")) GTEST_SKIP();
  struct {
    VkStructureType type;
    void* next;
    uint32_t alignment;
  } missing = {kMissing, nullptr, 77};
  VkPhysicalDeviceDriverProperties driver = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
  driver.pNext = &missing;
  VkPhysicalDeviceProperties2 properties = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
  properties.pNext = &driver;
  for (int turn = 0; turn < 2; ++turn) {
    vkGetPhysicalDeviceProperties2(gpu().physical_device(), &properties);
    EXPECT_EQ(missing.alignment, 77u);
    EXPECT_STRNE(driver.driverName, "");
  }
}

TEST_F(DeviceTest, FormatNotSupportedIsAnAnswer) {
  VkImageFormatProperties properties;
  std::memset(&properties, 0xcd, sizeof properties);
  EXPECT_EQ(
      vkGetPhysicalDeviceImageFormatProperties(gpu().physical_device(), VK_FORMAT_R8G8B8A8_UNORM, VK_IMAGE_TYPE_2D,
                                               VK_IMAGE_TILING_OPTIMAL, VK_IMAGE_USAGE_SAMPLED_BIT, 0, &properties),
      VK_SUCCESS);
  EXPECT_GE(properties.maxExtent.width, 4096u);
  for (int i = VK_FORMAT_R4G4_UNORM_PACK8; i <= VK_FORMAT_ASTC_12x12_SRGB_BLOCK; ++i) {
    const auto format = static_cast<VkFormat>(i);
    VkFormatProperties offered;
    vkGetPhysicalDeviceFormatProperties(gpu().physical_device(), format, &offered);
    if (offered.optimalTilingFeatures != 0) continue;
    EXPECT_EQ(
        vkGetPhysicalDeviceImageFormatProperties(gpu().physical_device(), format, VK_IMAGE_TYPE_2D,
                                                 VK_IMAGE_TILING_OPTIMAL, VK_IMAGE_USAGE_SAMPLED_BIT, 0, &properties),
        VK_ERROR_FORMAT_NOT_SUPPORTED)
        << i;
  }
}

// Private data stays with the object and the slot; unset is zero.
TEST_F(DeviceTest, PrivateData) {
  if (gpu().features().v13.privateData == VK_FALSE) GTEST_SKIP() << "not offered";
  VkPrivateDataSlotCreateInfo info = {VK_STRUCTURE_TYPE_PRIVATE_DATA_SLOT_CREATE_INFO};
  VkPrivateDataSlot slots[2];
  for (auto& slot : slots) VK_CHECK(vkCreatePrivateDataSlot(device(), &info, nullptr, &slot));
  const Owned<VkFence> fence = MakeFence(gpu());
  const auto handle = reinterpret_cast<uint64_t>(fence.get());
  VK_CHECK(vkSetPrivateData(device(), VK_OBJECT_TYPE_FENCE, handle, slots[0], 0x123456789abcdef0));
  VK_CHECK(vkSetPrivateData(device(), VK_OBJECT_TYPE_QUEUE, reinterpret_cast<uint64_t>(gpu().queue()), slots[0], 42));
  uint64_t data = 1;
  vkGetPrivateData(device(), VK_OBJECT_TYPE_FENCE, handle, slots[0], &data);
  EXPECT_EQ(data, 0x123456789abcdef0u);
  vkGetPrivateData(device(), VK_OBJECT_TYPE_FENCE, handle, slots[1], &data);
  EXPECT_EQ(data, 0u);
  vkGetPrivateData(device(), VK_OBJECT_TYPE_QUEUE, reinterpret_cast<uint64_t>(gpu().queue()), slots[0], &data);
  EXPECT_EQ(data, 42u);
  for (auto& slot : slots) vkDestroyPrivateDataSlot(device(), slot, nullptr);
}

TEST_F(DeviceTest, MemoryRequirementsWithoutAnObject) {
  VkBufferCreateInfo buffer = {VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  buffer.size = 12345;
  buffer.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;
  VkDeviceBufferMemoryRequirements ask = {VK_STRUCTURE_TYPE_DEVICE_BUFFER_MEMORY_REQUIREMENTS};
  ask.pCreateInfo = &buffer;
  VkMemoryRequirements2 early = {VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
  vkGetDeviceBufferMemoryRequirements(device(), &ask, &early);
  const auto made = Create<VkBuffer>(device(), vkCreateBuffer, vkDestroyBuffer, buffer);
  VkMemoryRequirements late;
  vkGetBufferMemoryRequirements(device(), made, &late);
  EXPECT_EQ(early.memoryRequirements.size, late.size);
  EXPECT_EQ(early.memoryRequirements.alignment, late.alignment);
  EXPECT_EQ(early.memoryRequirements.memoryTypeBits, late.memoryTypeBits);
}

TEST_F(DeviceTest, UnknownExtensionIsRefused) {
  if (ValidationWanted()) GTEST_SKIP() << "the layer objects";
  const float priority = 1.0f;
  const char* extension = "VK_TEST_no_such_extension";
  VkDeviceQueueCreateInfo queue = {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
  queue.queueFamilyIndex = gpu().queue_family();
  queue.queueCount = 1;
  queue.pQueuePriorities = &priority;
  VkDeviceCreateInfo info = {VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queue;
  info.enabledExtensionCount = 1;
  info.ppEnabledExtensionNames = &extension;
  VkDevice device = VK_NULL_HANDLE;
  EXPECT_EQ(vkCreateDevice(gpu().physical_device(), &info, nullptr, &device), VK_ERROR_EXTENSION_NOT_PRESENT);
}

// What a messenger heard.
struct Heard {
  std::vector<std::string> texts;
  static VKAPI_ATTR VkBool32 VKAPI_CALL Listen(VkDebugUtilsMessageSeverityFlagBitsEXT, VkDebugUtilsMessageTypeFlagsEXT,
                                               const VkDebugUtilsMessengerCallbackDataEXT* data, void* self) {
    static_cast<Heard*>(self)->texts.emplace_back(data->pMessage);
    return VK_FALSE;
  }
};

// One instance: a capture in the server shows the names (witness.py).
class DebugUtilsTest : public GpuTest {
 protected:
  void SetUp() override {
    ContextOptions options;
    options.instance_extensions = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME};
    Open(options);
  }
  template <typename Function>
  Function Get(const char* name) {
    return gpu().InstanceFunction<Function>(name);
  }
};

TEST_F(DebugUtilsTest, AnApplicationsOwnMessage) {
  Heard heard;
  VkDebugUtilsMessengerCreateInfoEXT info = {VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT};
  info.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_INFO_BIT_EXT;
  info.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_GENERAL_BIT_EXT;
  info.pfnUserCallback = &Heard::Listen;
  info.pUserData = &heard;
  VkDebugUtilsMessengerEXT messenger = VK_NULL_HANDLE;
  VK_CHECK(gpu().InstanceFunction<PFN_vkCreateDebugUtilsMessengerEXT>("vkCreateDebugUtilsMessengerEXT")(
      gpu().instance(), &info, nullptr, &messenger));
  VkDebugUtilsMessengerCallbackDataEXT message = {VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CALLBACK_DATA_EXT};
  message.pMessageIdName = "test";
  message.pMessage = "said by the application";
  gpu().InstanceFunction<PFN_vkSubmitDebugUtilsMessageEXT>("vkSubmitDebugUtilsMessageEXT")(
      gpu().instance(), VK_DEBUG_UTILS_MESSAGE_SEVERITY_INFO_BIT_EXT, VK_DEBUG_UTILS_MESSAGE_TYPE_GENERAL_BIT_EXT,
      &message);
  EXPECT_EQ(std::ranges::count(heard.texts, "said by the application"), 1);
  gpu().InstanceFunction<PFN_vkDestroyDebugUtilsMessengerEXT>("vkDestroyDebugUtilsMessengerEXT")(gpu().instance(),
                                                                                                 messenger, nullptr);
}

TEST_F(DebugUtilsTest, NamesTagsAndLabels) {
  const auto set_name = Get<PFN_vkSetDebugUtilsObjectNameEXT>("vkSetDebugUtilsObjectNameEXT");
  const auto set_tag = Get<PFN_vkSetDebugUtilsObjectTagEXT>("vkSetDebugUtilsObjectTagEXT");
  const auto begin = Get<PFN_vkCmdBeginDebugUtilsLabelEXT>("vkCmdBeginDebugUtilsLabelEXT");
  const auto insert = Get<PFN_vkCmdInsertDebugUtilsLabelEXT>("vkCmdInsertDebugUtilsLabelEXT");
  const auto end = Get<PFN_vkCmdEndDebugUtilsLabelEXT>("vkCmdEndDebugUtilsLabelEXT");
  const auto begin_queue = Get<PFN_vkQueueBeginDebugUtilsLabelEXT>("vkQueueBeginDebugUtilsLabelEXT");
  const auto insert_queue = Get<PFN_vkQueueInsertDebugUtilsLabelEXT>("vkQueueInsertDebugUtilsLabelEXT");
  const auto end_queue = Get<PFN_vkQueueEndDebugUtilsLabelEXT>("vkQueueEndDebugUtilsLabelEXT");
  const Buffer buffer = MakeBuffer(gpu(), 64, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  VkDebugUtilsObjectNameInfoEXT name = {VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT};
  name.objectType = VK_OBJECT_TYPE_BUFFER;
  name.objectHandle = reinterpret_cast<uint64_t>(buffer.handle.get());
  name.pObjectName = "the named buffer";
  VK_CHECK(set_name(device(), &name));
  name.objectType = VK_OBJECT_TYPE_DEVICE;
  name.objectHandle = reinterpret_cast<uint64_t>(device());
  name.pObjectName = "the named device";
  VK_CHECK(set_name(device(), &name));
  const uint32_t bytes = 0x12345678;
  VkDebugUtilsObjectTagInfoEXT tag = {VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_TAG_INFO_EXT};
  tag.objectType = VK_OBJECT_TYPE_BUFFER;
  tag.objectHandle = reinterpret_cast<uint64_t>(buffer.handle.get());
  tag.tagName = 77;
  tag.tagSize = sizeof(bytes);
  tag.pTag = &bytes;
  VK_CHECK(set_tag(device(), &tag));
  VkDebugUtilsLabelEXT label = {VK_STRUCTURE_TYPE_DEBUG_UTILS_LABEL_EXT};
  label.pLabelName = "around the submit";
  label.color[1] = 0.5f;
  begin_queue(gpu().queue(), &label);
  label.pLabelName = "before the submit";
  insert_queue(gpu().queue(), &label);
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    label.pLabelName = "filling";
    begin(commands, &label);
    label.pLabelName = "now";
    insert(commands, &label);
    vkCmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, 9);
    end(commands);
  });
  end_queue(gpu().queue());
  VK_CHECK(vkQueueWaitIdle(gpu().queue()));
  EXPECT_EQ(buffer.As<uint32_t>()[0], 9u);
}

// Whatever a driver says to a name of null (Mesa 22.3 refuses it), or a loader does with handles of its own: only the name is lost.
TEST_F(DebugUtilsTest, NamesThatNobodyTakesHurtNothing) {
  const auto set_name = Get<PFN_vkSetDebugUtilsObjectNameEXT>("vkSetDebugUtilsObjectNameEXT");
  const Buffer buffer = MakeBuffer(gpu(), 64, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  VkDebugUtilsMessengerCreateInfoEXT info = {VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT};
  info.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
  info.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_GENERAL_BIT_EXT;
  info.pfnUserCallback = [](VkDebugUtilsMessageSeverityFlagBitsEXT, VkDebugUtilsMessageTypeFlagsEXT,
                            const VkDebugUtilsMessengerCallbackDataEXT*, void*) -> VkBool32 { return VK_FALSE; };
  VkDebugUtilsMessengerEXT messenger = VK_NULL_HANDLE;
  VK_CHECK(gpu().InstanceFunction<PFN_vkCreateDebugUtilsMessengerEXT>("vkCreateDebugUtilsMessengerEXT")(
      gpu().instance(), &info, nullptr, &messenger));
  const std::pair<VkObjectType, uint64_t> objects[] = {
      {VK_OBJECT_TYPE_BUFFER, reinterpret_cast<uint64_t>(buffer.handle.get())},
      {VK_OBJECT_TYPE_INSTANCE, reinterpret_cast<uint64_t>(gpu().instance())},
      {VK_OBJECT_TYPE_PHYSICAL_DEVICE, reinterpret_cast<uint64_t>(gpu().physical_device())},
      {VK_OBJECT_TYPE_DEBUG_UTILS_MESSENGER_EXT, reinterpret_cast<uint64_t>(messenger)}};
  for (const auto& [type, handle] : objects) {
    VkDebugUtilsObjectNameInfoEXT name = {VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT};
    name.objectType = type;
    name.objectHandle = handle;
    name.pObjectName = "a name";
    set_name(device(), &name);
    if (type != VK_OBJECT_TYPE_BUFFER) continue;
    name.pObjectName = nullptr;
    set_name(device(), &name);
  }
  RunCommands(gpu(), [&](VkCommandBuffer commands) { vkCmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, 11); });
  EXPECT_EQ(buffer.As<uint32_t>()[0], 11u);
  gpu().InstanceFunction<PFN_vkDestroyDebugUtilsMessengerEXT>("vkDestroyDebugUtilsMessengerEXT")(gpu().instance(),
                                                                                                 messenger, nullptr);
}

// As programs do that leave everything to the end: children die with their pools and devices.
TEST_F(DeviceTest, OpenedAndClosedManyTimes) {
  for (int i = 0; i < 10; ++i) {
    Open({});
    const Owned<VkCommandPool> pool = MakeCommandPool(gpu());
    for (int j = 0; j < 10; ++j) AllocateCommands(gpu(), pool);
  }
}

}  // namespace
}  // namespace vesper::test
