// Messages of the server for the application's callbacks: who is called, when, on which thread, and what becomes of too many
// and of malformed ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "client/base/limits.h"
#include "client/session/delivery.h"
#include "generated/wire/sync.h"
#include "tests/client/fixture.h"

namespace vesper::client {
namespace {

constexpr auto kError = VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
constexpr auto kGeneral = VK_DEBUG_UTILS_MESSAGE_TYPE_GENERAL_BIT_EXT;

struct Heard {
  std::vector<std::string> texts;
  std::vector<uint64_t> objects;
  std::vector<std::thread::id> threads;
};

VKAPI_ATTR VkBool32 VKAPI_CALL Listen(VkDebugUtilsMessageSeverityFlagBitsEXT, VkDebugUtilsMessageTypeFlagsEXT,
                                      const VkDebugUtilsMessengerCallbackDataEXT* data, void* heard) {
  auto* self = static_cast<Heard*>(heard);
  self->texts.emplace_back(data->pMessage);
  for (uint32_t i = 0; i < data->objectCount; ++i) self->objects.push_back(data->pObjects[i].objectHandle);
  self->threads.push_back(std::this_thread::get_id());
  return VK_TRUE;  // ignored
}

VKAPI_ATTR VkBool32 VKAPI_CALL ListenToReport(VkDebugReportFlagsEXT, VkDebugReportObjectTypeEXT, uint64_t, size_t,
                                              int32_t, const char*, const char* text, void* heard) {
  static_cast<Heard*>(heard)->texts.emplace_back(text);
  return VK_FALSE;
}

class DebugTest : public ClientFixture {
 protected:
  ~DebugTest() override { session_.SetInstance(nullptr); }
  void SetUp() override { session_.SetInstance(&instance_); }

  VkDebugUtilsMessengerCreateInfoEXT Info(VkDebugUtilsMessageSeverityFlagsEXT severities = kError) {
    VkDebugUtilsMessengerCreateInfoEXT info{};
    info.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT;
    info.messageSeverity = severities;
    info.messageType = kGeneral;
    info.pfnUserCallback = Listen;
    info.pUserData = &heard_;
    return info;
  }
  VkDebugUtilsMessengerEXT Create(const VkDebugUtilsMessengerCreateInfoEXT& info) {
    VkDebugUtilsMessengerEXT messenger = VK_NULL_HANDLE;
    EXPECT_EQ(overrides::CreateDebugUtilsMessengerEXT(ToHandle<VkInstance>(&instance_), &info, nullptr, &messenger),
              VK_SUCCESS);
    return messenger;
  }

  // An event as the server sends it; its handles are ids.
  std::vector<uint8_t> Event(ObjectId messenger, const std::string& text, uint64_t sequence = 0,
                             const VkDebugUtilsObjectNameInfoEXT* object = nullptr) {
    const wire::DebugMessage head{messenger, sequence, wire::DebugForm::kUtils, 0};
    VkDebugUtilsMessengerCallbackDataEXT data{};
    data.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CALLBACK_DATA_EXT;
    data.pMessage = text.c_str();
    data.objectCount = object == nullptr ? 0 : 1;
    data.pObjects = object;
    UtilsMessage message{};
    message.messageSeverity = kError;
    message.messageTypes = kGeneral;
    message.pCallbackData = &data;
    wire::ByteBuffer out;
    out.Append(&head, sizeof(head));
    wire::Encoder encoder(&out);
    wire::EncodeRequest(encoder, message);
    return {out.data(), out.data() + out.size()};
  }
  void Send(const std::vector<uint8_t>& event) {
    server_.SendEvent(wire::EventKind::kDebugMessage, event.data(), event.size());
  }
  // Everything sent before has arrived.
  void Settle() { session_.AskControl(wire::Control::kHeartbeat, nullptr, 0); }

  Heard heard_;
};

TEST_F(DebugTest, AMessageWaitsForACallOfTheApplication) {
  const VkDebugUtilsMessengerEXT messenger = Create(Info());
  Send(Event(IdOf(messenger), "one"));
  Settle();
  EXPECT_TRUE(heard_.texts.empty()) << "called by the reader";
  Deliver(session_);
  EXPECT_EQ(heard_.texts, std::vector<std::string>{"one"});
  EXPECT_EQ(heard_.threads, std::vector<std::thread::id>{std::this_thread::get_id()});
  Deliver(session_);
  EXPECT_EQ(heard_.texts.size(), 1u);
}

// The answer to a question that nobody waits for (news of an event's status, say) is looked at later, or never.
TEST_F(DebugTest, AMessageOfARecordThatNobodyWaitsForIsAnybodys) {
  const VkDebugUtilsMessengerEXT messenger = Create(Info());
  wire::GetEventStatusArgs args{};
  args.device = device();
  const std::shared_ptr<LaterReply> later = session_.AskLater(Command::kGetEventStatus, &args);
  ASSERT_NE(later, nullptr);
  Send(Event(IdOf(messenger), "of a poll", later->sequence));
  Settle();
  Deliver(session_);
  EXPECT_EQ(heard_.texts, std::vector<std::string>{"of a poll"});
}

TEST_F(DebugTest, ObjectsAreTheApplicationsHandles) {
  const VkDebugUtilsMessengerEXT messenger = Create(Info());
  VkDebugUtilsObjectNameInfoEXT object{};
  object.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT;
  object.objectType = VK_OBJECT_TYPE_QUEUE;
  object.objectHandle = reinterpret_cast<uintptr_t>(&queue_);
  Send(Event(IdOf(messenger), "of a queue", 0, &object));
  Settle();
  Deliver(session_);
  EXPECT_EQ(heard_.objects.back(), reinterpret_cast<uintptr_t>(&queue_));
  session_.RemoveQueue(&queue_);
  Send(Event(IdOf(messenger), "of a queue that is gone", 0, &object));
  Settle();
  Deliver(session_);
  EXPECT_EQ(heard_.objects.back(), 0u);
  session_.AddQueue(&queue_);
  object.objectType = VK_OBJECT_TYPE_BUFFER;
  object.objectHandle = NewId(HandleType::kBuffer);
  Send(Event(IdOf(messenger), "of a buffer", 0, &object));
  Settle();
  Deliver(session_);
  EXPECT_EQ(heard_.objects.back(), object.objectHandle);
  EXPECT_EQ(heard_.texts.size(), 3u);
}

TEST_F(DebugTest, WhatACallCausedIsForItsThread) {
  const VkDebugUtilsMessengerEXT messenger = Create(Info());
  const auto waits = [](uint64_t sequence) { return sequence == 77; };  // a thread, for the reply to that
  EXPECT_TRUE(session_.messages().Arrived(Event(IdOf(messenger), "of another call", 77), waits));
  EXPECT_TRUE(session_.messages().Arrived(Event(IdOf(messenger), "of nobody's"), waits));
  std::thread([&] { Deliver(session_); }).join();
  EXPECT_EQ(heard_.texts, std::vector<std::string>{"of nobody's"});
  session_.messages().Claim(77);
  std::thread([&] { Deliver(session_); }).join();
  EXPECT_EQ(heard_.texts.size(), 1u);
  Deliver(session_);
  EXPECT_EQ(heard_.texts.back(), "of another call");
}

TEST_F(DebugTest, AMessengerHearsWhatWasBeforeItsDestructionAndNothingAfter) {
  const VkDebugUtilsMessengerEXT messenger = Create(Info());
  Send(Event(IdOf(messenger), "before"));
  overrides::DestroyDebugUtilsMessengerEXT(ToHandle<VkInstance>(&instance_), messenger, nullptr);
  Send(Event(IdOf(messenger), "after"));
  Send(Event(NewId(HandleType::kDebugUtilsMessengerEXT), "for another"));
  Settle();
  Deliver(session_);
  EXPECT_EQ(heard_.texts, std::vector<std::string>{"before"});
  EXPECT_FALSE(session_.lost());
  EXPECT_EQ(RecordsOf(Command::kCreateDebugUtilsMessengerEXT), 1u);
  EXPECT_EQ(RecordsOf(Command::kDestroyDebugUtilsMessengerEXT), 1u);
}

// Those of the create-info hear only what names no messenger, and only what their masks let through.
TEST_F(DebugTest, AnInstancesOwnMessengers) {
  const VkDebugUtilsMessengerCreateInfoEXT other = Info(VK_DEBUG_UTILS_MESSAGE_SEVERITY_INFO_BIT_EXT);
  VkDebugUtilsMessengerCreateInfoEXT own = Info();
  own.pNext = &other;
  VkDebugReportCallbackCreateInfoEXT report{};
  report.sType = VK_STRUCTURE_TYPE_DEBUG_REPORT_CALLBACK_CREATE_INFO_EXT;
  report.pNext = &own;
  report.flags = VK_DEBUG_REPORT_ERROR_BIT_EXT;
  report.pfnCallback = ListenToReport;
  report.pUserData = &heard_;
  session_.messages().AddChain(&report);
  Create(Info());
  Send(Event(kNullObject, "while the instance is made"));
  Settle();
  Deliver(session_);
  EXPECT_EQ(heard_.texts.size(), 1u);
  VkDebugUtilsMessengerCallbackDataEXT data{};
  data.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CALLBACK_DATA_EXT;
  data.pMessage = "said by the application";
  overrides::SubmitDebugUtilsMessageEXT(ToHandle<VkInstance>(&instance_), kError, kGeneral, &data);
  EXPECT_EQ(heard_.texts.size(), 2u) << "the created messenger alone";
  overrides::DebugReportMessageEXT(ToHandle<VkInstance>(&instance_), VK_DEBUG_REPORT_ERROR_BIT_EXT,
                                   VK_DEBUG_REPORT_OBJECT_TYPE_UNKNOWN_EXT, 0, 0, 0, "", "said too");
  EXPECT_EQ(heard_.texts.size(), 2u);
}

TEST_F(DebugTest, ACallbackIsNotCalledWithinACallback) {
  struct Caller {
    Session* session;
    int depth = 0;
    int deepest = 0;
    int calls = 0;
  } caller{&session_};
  VkDebugUtilsMessengerCreateInfoEXT info = Info();
  info.pUserData = &caller;
  info.pfnUserCallback = [](VkDebugUtilsMessageSeverityFlagBitsEXT, VkDebugUtilsMessageTypeFlagsEXT,
                            const VkDebugUtilsMessengerCallbackDataEXT*, void* data) -> VkBool32 {
    auto* self = static_cast<Caller*>(data);
    self->deepest = std::max(self->deepest, ++self->depth);
    ++self->calls;
    self->session->AskControl(wire::Control::kHeartbeat, nullptr, 0);
    Deliver(*self->session);
    --self->depth;
    return VK_FALSE;
  };
  const VkDebugUtilsMessengerEXT messenger = Create(info);
  for (int i = 0; i < 3; ++i) Send(Event(IdOf(messenger), "again"));
  Settle();
  Deliver(session_);
  EXPECT_EQ(caller.calls, 3);
  EXPECT_EQ(caller.deepest, 1);
}

TEST_F(DebugTest, KeepsOnlySoMany) {
  const VkDebugUtilsMessengerEXT messenger = Create(Info());
  const std::vector<uint8_t> event = Event(IdOf(messenger), "more");
  for (size_t i = 0; i < limits::kMaxPendingMessages + 100; ++i) Send(event);
  Settle();
  Deliver(session_);
  EXPECT_EQ(heard_.texts.size(), limits::kMaxPendingMessages);
  heard_.texts.clear();
  const std::vector<uint8_t> large = Event(IdOf(messenger), std::string(limits::kMaxPendingMessageBytes / 10, 'x'));
  for (int i = 0; i < 20; ++i) Send(large);
  Settle();
  Deliver(session_);
  EXPECT_EQ(heard_.texts.size(), 9u);
  EXPECT_FALSE(session_.lost());
}

TEST_F(DebugTest, MalformedEventsEndTheSession) {
  Create(Info());
  const uint8_t short_head[] = {1, 2, 3};
  server_.SendEvent(wire::EventKind::kDebugMessage, short_head, sizeof(short_head));
  Settle();
  EXPECT_TRUE(session_.lost());
}

TEST_F(DebugTest, AFormThatIsNoneEndsTheSession) {
  const VkDebugUtilsMessengerEXT messenger = Create(Info());
  std::vector<uint8_t> event = Event(IdOf(messenger), "text");
  event[offsetof(wire::DebugMessage, form)] = 2;
  Send(event);
  Settle();
  EXPECT_TRUE(session_.lost());
}

// Cut anywhere, a message is refused and its callback not called.
class DebugTruncationTest : public DebugTest, public testing::WithParamInterface<size_t> {};

TEST_P(DebugTruncationTest, IsRefused) {
  const VkDebugUtilsMessengerEXT messenger = Create(Info());
  std::vector<uint8_t> event = Event(IdOf(messenger), "a text");
  event.resize(sizeof(wire::DebugMessage) + (event.size() - sizeof(wire::DebugMessage)) * GetParam() / 8);
  Send(event);
  Settle();
  Deliver(session_);
  EXPECT_TRUE(session_.lost());
  EXPECT_TRUE(heard_.texts.empty());
}

INSTANTIATE_TEST_SUITE_P(Eighths, DebugTruncationTest, testing::Range<size_t>(0, 8));

}  // namespace
}  // namespace vesper::client
