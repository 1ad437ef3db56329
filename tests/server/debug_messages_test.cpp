// Protects what becomes of the driver's messages: whose they are, what is left out and counted, and
// that neither many of them nor late ones do harm. The driver is played by the test.
#include "server/session/debug_messages.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "generated/vk/commands.h"
#include "runtime/arena.h"
#include "runtime/wire/record.h"
#include "server/base/limits.h"
#include "tests/server/recording_channel.h"

namespace vesper::server {
namespace {

constexpr auto kError = VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
constexpr auto kGeneral = VK_DEBUG_UTILS_MESSAGE_TYPE_GENERAL_BIT_EXT;
constexpr auto kValidation = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT;
constexpr std::chrono::milliseconds kPatience{5000};

// What the driver was asked for.
std::vector<VkDebugUtilsMessengerCreateInfoEXT> g_created;

VKAPI_ATTR VkResult VKAPI_CALL Create(VkInstance, const VkDebugUtilsMessengerCreateInfoEXT* info,
                                      const VkAllocationCallbacks*, VkDebugUtilsMessengerEXT* messenger) {
  g_created.push_back(*info);
  *messenger = reinterpret_cast<VkDebugUtilsMessengerEXT>(g_created.size());
  return VK_SUCCESS;
}

template <typename H>
H Handle(uint64_t value) {
  H handle;
  std::memcpy(&handle, &value, sizeof(handle));
  return handle;
}

// An event as the client sees it.
struct Event {
  wire::DebugMessage head;
  std::string text;
  std::vector<uint64_t> objects;
};

class DebugMessagesTest : public testing::Test {
 protected:
  explicit DebugMessagesTest(bool validation = false)
      : messages_(&table_, &outbox_, 1, {.validation = validation, .gpu = {}}) {}
  void SetUp() override {
    g_created.clear();
    driver_.CreateDebugUtilsMessengerEXT = Create;
  }

  void Listen(ObjectId id, VkDebugUtilsMessageTypeFlagsEXT types = kGeneral | kValidation) {
    VkDebugUtilsMessengerCreateInfoEXT info{};
    info.messageSeverity = kError;
    info.messageType = types;
    VkDebugUtilsMessengerEXT messenger = VK_NULL_HANDLE;
    ASSERT_EQ(messages_.Listen(driver_, kInstance, info, id, &messenger), VK_SUCCESS);
    EXPECT_NE(messenger, VK_NULL_HANDLE);
  }
  // The driver says something to a messenger that it was asked for.
  static void Say(const VkDebugUtilsMessengerCreateInfoEXT& to, const char* text,
                  VkDebugUtilsMessageTypeFlagsEXT types = kGeneral, const char* id_name = nullptr,
                  std::vector<VkDebugUtilsObjectNameInfoEXT> objects = {}) {
    VkDebugUtilsMessengerCallbackDataEXT data{};
    data.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CALLBACK_DATA_EXT;
    data.pMessageIdName = id_name;
    data.pMessage = text;
    data.objectCount = static_cast<uint32_t>(objects.size());
    data.pObjects = objects.data();
    EXPECT_EQ(to.pfnUserCallback(kError, types, &data, to.pUserData), VK_FALSE);
  }
  std::vector<Event> Sent() {
    outbox_.Flush(kPatience);
    std::vector<Event> events;
    for (const SentMessage& message : channel_.sent()) {
      std::span<const uint8_t> bytes = message.payload;
      wire::RecordHeader header;
      std::span<const uint8_t> body;
      EXPECT_TRUE(wire::NextRecord(&bytes, &header, &body));
      EXPECT_EQ(header.command, static_cast<uint16_t>(wire::EventKind::kDebugMessage));
      Event event{wire::Load<wire::DebugMessage>(body.data()), {}, {}};
      Arena arena(1 << 20);
      wire::Decoder decoder(body.subspan(sizeof(event.head)), &arena);
      wire::SubmitDebugUtilsMessageEXTArgs args{};
      wire::DecodeRequest(decoder, args);
      EXPECT_TRUE(decoder.ok()) << decoder.error();
      if (!decoder.ok()) continue;
      event.text = args.pCallbackData->pMessage;
      for (uint32_t i = 0; i < args.pCallbackData->objectCount; ++i)
        event.objects.push_back(args.pCallbackData->pObjects[i].objectHandle);
      events.push_back(std::move(event));
    }
    return events;
  }

  const VkInstance kInstance = Handle<VkInstance>(0x1000);
  HandleTable table_;
  RecordingChannel channel_;
  Outbox outbox_{&channel_};
  vk::DispatchTable driver_{};
  DebugMessages messages_;
};

TEST_F(DebugMessagesTest, AMessageNamesTheMessengerAndTheClientsObjects) {
  const ObjectId buffer = MakeObjectId(HandleType::kBuffer, 1, 5);
  const ObjectId queue = MakeObjectId(HandleType::kQueue, 1, 6);
  {
    const HandleTable::Lock lock = table_.Acquire();
    table_.SetLive(lock, table_.Add(lock, HandleType::kBuffer, buffer, kNullObject, nullptr), 0xbu, false);
    table_.SetLive(lock, table_.Add(lock, HandleType::kQueue, queue, kNullObject, &driver_), 0xabc, true);
  }
  Listen(77);
  const auto object = [](VkObjectType type, uint64_t handle) {
    return VkDebugUtilsObjectNameInfoEXT{VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT, nullptr, type, handle,
                                         nullptr};
  };
  Say(g_created.at(0), "about objects", kGeneral, nullptr,
      {object(VK_OBJECT_TYPE_BUFFER, 0xb), object(VK_OBJECT_TYPE_QUEUE, 0xabc), object(VK_OBJECT_TYPE_IMAGE, 0xb),
       object(VK_OBJECT_TYPE_BUFFER, 0xc), object(static_cast<VkObjectType>(0x7fffffff), 0xb)});
  const std::vector<Event> events = Sent();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].head.messenger, 77u);
  EXPECT_EQ(events[0].head.sequence, 0u);
  EXPECT_EQ(events[0].head.form, wire::DebugForm::kUtils);
  EXPECT_EQ(events[0].text, "about objects");
  // What has a type that the registry does not know travels as the number that it is.
  EXPECT_EQ(events[0].objects, (std::vector<uint64_t>{buffer, queue, 0, 0, 0xb}));
}

// The driver may be calling while the client destroys its messenger: the driver's goes on being
// there.
TEST_F(DebugMessagesTest, ADeafMessengerIsUsedAgain) {
  Listen(1);
  messages_.Deafen(1);
  Say(g_created.at(0), "to nobody");
  Listen(2);
  EXPECT_EQ(g_created.size(), 1u);
  Say(g_created.at(0), "to the second");
  Listen(3, kGeneral);
  EXPECT_EQ(g_created.size(), 2u) << "it has other wishes";
  messages_.Deafen(1);
  messages_.Deafen(kNullObject);
  Say(g_created.at(0), "to the second again");
  const std::vector<Event> events = Sent();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].head.messenger, 2u);
  EXPECT_EQ(events[1].text, "to the second again");
}

TEST_F(DebugMessagesTest, FloodsAreLeftOutAndCounted) {
  Listen(1);
  channel_.set_open(false);
  const std::string text(1000, 'x');
  constexpr size_t kMany = 5000;
  for (size_t i = 0; i < kMany; ++i) Say(g_created.at(0), text.c_str());
  EXPECT_LE(outbox_.queued_bytes(), limits::kMaxQueuedMessageBytes + 2000);
  Say(g_created.at(0), std::string(limits::kMaxDebugMessageBytes, 'x').c_str());
  channel_.set_open(true);
  const size_t sent = Sent().size();
  EXPECT_GT(sent, 500u);
  EXPECT_LT(sent, kMany);
  EXPECT_TRUE(outbox_.error().empty());
  EXPECT_EQ(messages_.Summary(), "0 validation messages, " + std::to_string(sent) + " debug messages sent, " +
                                     std::to_string(kMany + 1 - sent) + " dropped");
}

TEST_F(DebugMessagesTest, TheLoadersOwnAreNotTheClients) {
  Listen(1);
  Say(g_created.at(0), "a manifest was found", kGeneral, "Loader Message");
  EXPECT_TRUE(Sent().empty());
}

TEST_F(DebugMessagesTest, MessengersOfTheCreateInfoHaveNoId) {
  VkDebugUtilsMessengerCreateInfoEXT info{};
  info.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT;
  EXPECT_EQ(messages_.Attach(&info), &info);
  ASSERT_NE(info.pfnUserCallback, nullptr);
  Say(info, "while the instance is made");
  const std::vector<Event> events = Sent();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].head.messenger, kNullObject);
  messages_.Begin(nullptr);
}

class ValidatingTest : public DebugMessagesTest {
 protected:
  ValidatingTest() : DebugMessagesTest(true) {}
};

TEST_F(ValidatingTest, MessagesOfTheLayerAreForWhoAsks) {
  Listen(1);
  Say(g_created.at(0), "of the layer", kValidation);
  Say(g_created.at(0), "of the driver", kGeneral);
  messages_.ForwardValidation(true);
  Say(g_created.at(0), "of the layer, wanted", kValidation);
  const std::vector<Event> events = Sent();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].text, "of the driver");
  EXPECT_EQ(events[1].text, "of the layer, wanted");
}

// A layer does not hand on what its messenger says yes to.
TEST_F(ValidatingTest, OnlyAStrictServerKeepsErrorsFromTheDriver) {
  DebugMessages strict(&table_, &outbox_, 1, {.validation = true, .strict = true, .gpu = {}});
  VkDebugUtilsMessengerCallbackDataEXT data{};
  data.pMessage = "a rule was broken";
  for (DebugMessages* messages : {&messages_, &strict}) {
    const auto* info = static_cast<const VkDebugUtilsMessengerCreateInfoEXT*>(messages->Attach(nullptr));
    const VkBool32 error = info->pfnUserCallback(kError, kValidation, &data, info->pUserData);
    EXPECT_EQ(error, messages == &strict ? VK_TRUE : VK_FALSE);
    EXPECT_EQ(
        info->pfnUserCallback(VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT, kValidation, &data, info->pUserData),
        VK_FALSE);
    messages->Begin(nullptr);
  }
}

TEST_F(ValidatingTest, TheServersOwnMessengerCounts) {
  const auto* info = static_cast<const VkDebugUtilsMessengerCreateInfoEXT*>(messages_.Attach(nullptr));
  ASSERT_NE(info, nullptr);
  for (int i = 0; i < 3; ++i) Say(*info, "a rule was broken", kValidation);
  EXPECT_TRUE(Sent().empty());
  EXPECT_EQ(messages_.Summary(), "3 validation messages (3 errors, 0 warnings), 0 debug messages sent, 0 dropped");
  messages_.Begin(nullptr);
}

}  // namespace
}  // namespace vesper::server
