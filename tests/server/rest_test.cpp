// Protects sessions without a device: while their clients are silent the driver is given back, and what the client knows by ids
// is there again when it goes on.
#include <gtest/gtest.h>

#include <thread>

#include "tests/server/test_client.h"

namespace vesper::server {
namespace {

using std::chrono::milliseconds;

class RestTest : public testing::Test {
 protected:
  void SetUp() override {
    PrepareDriverEnvironment();
    std::string error;
    driver_ = Driver::Load({.validation = false, .gpu = "llvmpipe"}, &error);
    ASSERT_NE(driver_, nullptr) << error;
    SessionLimits limits;
    limits.rest_after = milliseconds(20);
    client_ = std::make_unique<TestClient>(driver_.get(), MakeLoopback(), limits);
  }

  // Waits until the driver has been given back so often; false when that takes too long.
  bool Rests(uint64_t times) {
    for (int i = 0; i < 2000 && client_->session().stats().rests < times; ++i) {
      std::this_thread::sleep_for(milliseconds(5));
    }
    return client_->session().stats().rests >= times;
  }
  VkInstance MakeInstance() {
    VkInstanceCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
    auto instance = client_->New<VkInstance>(HandleType::kInstance);
    wire::CreateInstanceArgs args{};
    args.pCreateInfo = &info;
    args.pInstance = &instance;
    client_->Ask(Command::kCreateInstance, &args);
    EXPECT_EQ(args.result, VK_SUCCESS);
    return instance;
  }
  VkPhysicalDevice FirstDevice(VkInstance instance) {
    uint32_t count = 1;
    auto device = client_->New<VkPhysicalDevice>(HandleType::kPhysicalDevice);
    wire::EnumeratePhysicalDevicesArgs args{instance, &count, &device, VK_SUCCESS, nullptr};
    client_->Ask(Command::kEnumeratePhysicalDevices, &args);
    EXPECT_EQ(count, 1u);
    return device;
  }
  std::string NameOf(VkPhysicalDevice device) {
    VkPhysicalDeviceProperties properties{};
    wire::GetPhysicalDevicePropertiesArgs args{};
    args.physicalDevice = device;
    args.pProperties = &properties;
    EXPECT_EQ(client_->Ask(Command::kGetPhysicalDeviceProperties, &args), wire::ReplyKind::kAnswer);
    return properties.deviceName;
  }

  std::unique_ptr<Driver> driver_;
  std::unique_ptr<TestClient> client_;
};

TEST_F(RestTest, WhatTheClientKnowsIsThereAgain) {
  const VkInstance one = MakeInstance(), other = MakeInstance();
  const VkPhysicalDevice of_one = FirstDevice(one), of_other = FirstDevice(other);
  const std::string name = NameOf(of_one);
  ASSERT_FALSE(name.empty());
  for (uint64_t times = 1; times <= 2; ++times) {
    ASSERT_TRUE(Rests(times));
    EXPECT_EQ(NameOf(of_one), name);
    EXPECT_EQ(NameOf(of_other), name);
  }
  ASSERT_TRUE(Rests(3));
  wire::DestroyInstanceArgs destroy{};
  for (const VkInstance instance : {other, one}) {
    destroy.instance = instance;
    client_->Post(Command::kDestroyInstance, &destroy);
  }
  client_->AskControl(wire::Control::kHeartbeat, nullptr, 0);
  HandleTable& objects = client_->session().objects();
  EXPECT_EQ(objects.live(objects.Acquire()), 0u);
}

TEST_F(RestTest, SignsOfLifeAloneKeepNothing) {
  FirstDevice(MakeInstance());
  for (int i = 0; i < 200 && client_->session().stats().rests == 0; ++i) {
    client_->AskControl(wire::Control::kHeartbeat, nullptr, 0);
    std::this_thread::sleep_for(milliseconds(5));
  }
  EXPECT_EQ(client_->session().stats().rests, 1u);
}

// The driver is in memory ahead of the first command, which may take its time.
TEST_F(RestTest, ASessionDoesNotBeginWithARest) {
  SessionLimits limits;
  limits.rest_after = std::chrono::minutes(1);
  client_ = std::make_unique<TestClient>(driver_.get(), MakeLoopback(), limits);
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_EQ(client_->session().stats().rests, 0u);
}

TEST_F(RestTest, AMessengerKeepsItsInstance) {
  const char* extension = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
  VkInstanceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
  info.enabledExtensionCount = 1;
  info.ppEnabledExtensionNames = &extension;
  auto instance = client_->New<VkInstance>(HandleType::kInstance);
  wire::CreateInstanceArgs make{};
  make.pCreateInfo = &info;
  make.pInstance = &instance;
  client_->Ask(Command::kCreateInstance, &make);
  ASSERT_EQ(make.result, VK_SUCCESS);
  VkDebugUtilsMessengerCreateInfoEXT wishes{};
  wishes.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT;
  wishes.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
  wishes.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_GENERAL_BIT_EXT;
  auto messenger = client_->New<VkDebugUtilsMessengerEXT>(HandleType::kDebugUtilsMessengerEXT);
  wire::CreateDebugUtilsMessengerEXTArgs listen{};
  listen.instance = instance;
  listen.pCreateInfo = &wishes;
  listen.pMessenger = &messenger;
  client_->Ask(Command::kCreateDebugUtilsMessengerEXT, &listen);
  ASSERT_EQ(listen.result, VK_SUCCESS);
  const uint64_t before = client_->session().stats().rests;
  std::this_thread::sleep_for(milliseconds(100));  // several times what a silent client is waited for
  EXPECT_EQ(client_->session().stats().rests, before);
}

TEST_F(RestTest, WithADeviceNothingIsGivenBack) {
  uint64_t before = 0;
  {
    TestDevice device(client_.get());
    before = client_->session().stats().rests;  // on a slow machine, before there was a device
    std::this_thread::sleep_for(milliseconds(100));
    EXPECT_EQ(client_->session().stats().rests, before);
  }
  EXPECT_TRUE(Rests(before + 1)) << "the device is gone";
  TestDevice again(client_.get());
  wire::DeviceWaitIdleArgs idle{again.device, VK_NOT_READY};
  client_->Ask(Command::kDeviceWaitIdle, &idle);
  EXPECT_EQ(idle.result, VK_SUCCESS);
}

}  // namespace
}  // namespace vesper::server
