#include "client/session/messages.h"

#include <algorithm>
#include <exception>

#include "client/base/limits.h"
#include "client/base/log.h"
#include "client/base/thread_local.h"
#include "client/session/client_handles.h"
#include "client/session/delivery.h"
#include "client/session/session.h"
#include "runtime/arena.h"
#include "runtime/vk/chain.h"
#include "runtime/wire/decoder.h"

namespace vesper::client {
namespace {

VESPER_THREAD_LOCAL bool t_delivering = false;
VESPER_THREAD_LOCAL char t_thread = 0;  // its address names the thread

// Each form: what belongs to it, whether a callback wants a message, and how it is called.
using UtilsInfo = VkDebugUtilsMessengerCreateInfoEXT;
using ReportInfo = VkDebugReportCallbackCreateInfoEXT;

bool Wants(const UtilsInfo& info, const UtilsMessage& message) {
  return info.pfnUserCallback != nullptr && (info.messageSeverity & message.messageSeverity) != 0 &&
         (info.messageType & message.messageTypes) != 0;
}
bool Wants(const ReportInfo& info, const ReportMessage& message) {
  return info.pfnCallback != nullptr && (info.flags & message.flags) != 0;
}

void CallBack(const UtilsInfo& info, const UtilsMessage& v) {
  info.pfnUserCallback(v.messageSeverity, v.messageTypes, v.pCallbackData, info.pUserData);
}
void CallBack(const ReportInfo& info, const ReportMessage& v) {
  info.pfnCallback(v.flags, v.objectType, v.object, v.location, v.messageCode, v.pLayerPrefix, v.pMessage,
                   info.pUserData);
}

template <typename Message>
struct InfoOf;
template <>
struct InfoOf<UtilsMessage> {
  using Type = UtilsInfo;
};
template <>
struct InfoOf<ReportMessage> {
  using Type = ReportInfo;
};

template <typename Message>
void GiveTo(const std::vector<Messenger>& messengers, const Message& message) {
  for (const Messenger& each : messengers) {
    const auto* info = std::get_if<typename InfoOf<Message>::Type>(&each.info);
    if (info != nullptr && Wants(*info, message)) CallBack(*info, message);
  }
}

}  // namespace

void Deliver(Session& session) noexcept {
  if (session.messages().pending() && !session.abandoned()) session.messages().Deliver(session);
}

void Messages::Add(const Messenger& messenger) {
  const MutexLock lock(mutex_);
  messengers_.push_back(messenger);
}

void Messages::Remove(ObjectId id) noexcept {
  const MutexLock lock(mutex_);
  std::erase_if(messengers_, [id](const Messenger& each) { return each.id == id; });
}

void Messages::AddChain(const void* chain) {
  for (const VkBaseInStructure& member : ChainOf(chain)) {
    if (member.sType == VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT) {
      Add({kNullObject, As<UtilsInfo>(member)});
    } else if (member.sType == VK_STRUCTURE_TYPE_DEBUG_REPORT_CALLBACK_CREATE_INFO_EXT) {
      Add({kNullObject, As<ReportInfo>(member)});
    }
  }
}

bool Messages::Arrived(std::span<const uint8_t> body, FunctionRef<bool(uint64_t sequence)> awaited) {
  if (body.size() < sizeof(wire::DebugMessage)) return false;
  Pending message{wire::Load<wire::DebugMessage>(body.data()), nullptr, {}};
  if (message.head.form > wire::DebugForm::kReport) return false;
  body = body.subspan(sizeof(message.head));
  if (message.head.sequence != 0 && !awaited(message.head.sequence)) message.head.sequence = 0;
  const MutexLock lock(mutex_);
  const auto same = [&](const Messenger& each) { return each.id == message.head.messenger; };
  if (std::none_of(messengers_.begin(), messengers_.end(), same)) return true;  // destroyed meanwhile
  if (messages_.size() >= limits::kMaxPendingMessages || bytes_ + body.size() > limits::kMaxPendingMessageBytes) {
    if (dropped_++ == 0) Log(LogLevel::kWarn, "more messages for debug callbacks than are kept: some are dropped");
    return true;
  }
  message.bytes.assign(body.begin(), body.end());
  bytes_ += body.size();
  messages_.push_back(std::move(message));
  pending_.store(messages_.size(), std::memory_order_relaxed);
  return true;
}

void Messages::Claim(uint64_t sequence) noexcept {
  if (!pending()) return;
  const MutexLock lock(mutex_);
  for (Pending& each : messages_) {
    if (each.head.sequence == sequence) each.owner = &t_thread;
  }
}

// The oldest message that this thread may deliver.
bool Messages::Take(Pending* message) noexcept {
  const MutexLock lock(mutex_);
  const auto found = std::find_if(messages_.begin(), messages_.end(), [](const Pending& each) {
    return each.owner == &t_thread || (each.owner == nullptr && each.head.sequence == 0);
  });
  if (found == messages_.end()) return false;
  *message = std::move(*found);
  messages_.erase(found);
  bytes_ -= message->bytes.size();
  pending_.store(messages_.size(), std::memory_order_relaxed);
  return true;
}

void Messages::Deliver(Session& session) noexcept {
  if (t_delivering) return;
  t_delivering = true;
  try {
    Pending message;
    while (Take(&message)) {
      const bool decoded = message.head.form == wire::DebugForm::kUtils ? Decode<UtilsMessage>(session, message)
                                                                        : Decode<ReportMessage>(session, message);
      if (!decoded) {
        session.connection().MarkLost("a message for a debug callback is malformed");
        break;
      }
    }
  } catch (const std::exception&) {
    Log(LogLevel::kWarn, "memory is exhausted: a message for a debug callback is dropped");
  }
  t_delivering = false;
}

template <typename Message>
bool Messages::Decode(Session& session, const Pending& message) const {
  Arena arena(limits::kMaxDecodedMessageBytes);
  ClientHandles handles(&session);
  wire::Decoder decoder(message.bytes, &arena, &handles);
  Message decoded{};
  wire::DecodeRequest(decoder, decoded);
  if (!decoder.ok()) return false;
  GiveTo(Listeners(message.head.messenger == kNullObject, message.head.messenger), decoded);
  return true;
}

// Copies: callbacks may create and destroy messengers.
std::vector<Messenger> Messages::Listeners(bool of_chain, ObjectId id) const {
  const MutexLock lock(mutex_);
  std::vector<Messenger> found;
  for (const Messenger& each : messengers_) {
    const bool wanted = id == kNullObject ? (each.id == kNullObject) == of_chain : each.id == id;
    if (wanted) found.push_back(each);
  }
  return found;
}

void Messages::Give(const UtilsMessage& message) const { GiveTo(Listeners(false, kNullObject), message); }
void Messages::Give(const ReportMessage& message) const { GiveTo(Listeners(false, kNullObject), message); }

}  // namespace vesper::client
