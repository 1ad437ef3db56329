#include "server/session/debug_messages.h"

#include <fmt/core.h>

#include <algorithm>
#include <exception>

#include "runtime/vk/chain.h"
#include "runtime/wire/record.h"
#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/session/session.h"

namespace vesper::server {
namespace {

// What the loader says of the worker's own set-up is for its log; the application's loader tells it
// of its own.
constexpr std::string_view kLoader = "Loader Message";
constexpr std::string_view kValidation = "Validation";
constexpr const char* kOurs = "Vesper";

std::string_view View(const char* text) { return text == nullptr ? std::string_view() : text; }

// Ids of the client for the driver's handles; null for those it does not know.
class KnownObjects final : public wire::HandleMapper {
 public:
  explicit KnownObjects(HandleTable* table) : table_(table) {}
  ObjectId ToWire(HandleType type, uint64_t handle) const override {
    const HandleTable::Lock lock = table_->Acquire();
    if (!IsDispatchable(type)) table_->MakeReversible(lock);
    return table_->IdOf(lock, type, handle);
  }
  bool FromWire(HandleType, ObjectId, wire::HandleUse, uint64_t*) override { return false; }

 private:
  HandleTable* const table_;
};

}  // namespace

DebugMessages::DebugMessages(HandleTable* table, Outbox* outbox, uint64_t session, const DriverOptions& options)
    : table_(table), outbox_(outbox), session_(session), validation_(options.validation), strict_(options.strict) {}

// --- listeners -----------------------------------------------------------------------------------

DebugMessages::Listener* DebugMessages::AddListener(VkInstance instance, uint64_t wishes) {
  Listener& listener = listeners_.emplace_back();
  listener.owner = this;
  listener.instance = instance;
  listener.wishes = wishes;
  return &listener;
}

void DebugMessages::Call(Listener* listener, VkDebugUtilsMessengerCreateInfoEXT* info) {
  info->pfnUserCallback = OnUtils;
  info->pUserData = listener;
}

void DebugMessages::Call(Listener* listener, VkDebugReportCallbackCreateInfoEXT* info) {
  info->pfnCallback = OnReport;
  info->pUserData = listener;
}

VkDebugUtilsMessengerCreateInfoEXT DebugMessages::InfoOfLog(Listener* log) const {
  log->is_log = true;
  VkDebugUtilsMessengerCreateInfoEXT info{};
  info.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT;
  info.messageSeverity =
      VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
  info.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT;
  Call(log, &info);
  return info;
}

const void* DebugMessages::Attach(const void* chain) {
  for (VkBaseOutStructure& member : ChainOf(const_cast<void*>(chain))) {
    if (member.sType == VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT) {
      Call(AddListener(VK_NULL_HANDLE, 0), &As<VkDebugUtilsMessengerCreateInfoEXT>(member));
    } else if (member.sType == VK_STRUCTURE_TYPE_DEBUG_REPORT_CALLBACK_CREATE_INFO_EXT) {
      Call(AddListener(VK_NULL_HANDLE, 0), &As<VkDebugReportCallbackCreateInfoEXT>(member));
    } else {
      continue;
    }
    listeners_.back().in_chain = true;
  }
  if (!validation_) return chain;
  log_in_chain_ = InfoOfLog(AddListener(VK_NULL_HANDLE, 0));
  log_in_chain_.pNext = chain;
  return &log_in_chain_;
}

void DebugMessages::Begin(Instance* instance) {
  if (instance == nullptr) return Forget(VK_NULL_HANDLE);
  for (Listener& listener : listeners_) {
    if (listener.instance == VK_NULL_HANDLE) listener.instance = instance->handle;
  }
  if (!validation_) return;
  Listener* log = AddListener(instance->handle, 0);
  const VkDebugUtilsMessengerCreateInfoEXT info = InfoOfLog(log);
  const VkResult result =
      instance->context.table.CreateDebugUtilsMessengerEXT(instance->handle, &info, nullptr, &log->utils);
  if (result != VK_SUCCESS)
    Log(LogLevel::kWarning, "no validation messages: the messenger failed with {}", static_cast<int>(result));
}

void DebugMessages::End(Instance* instance) {
  const vk::DispatchTable& driver = instance->context.table;
  for (Listener& listener : listeners_) {
    if (listener.instance != instance->handle) continue;
    if (listener.utils != VK_NULL_HANDLE)
      driver.DestroyDebugUtilsMessengerEXT(instance->handle, listener.utils, nullptr);
    if (listener.report != VK_NULL_HANDLE)
      driver.DestroyDebugReportCallbackEXT(instance->handle, listener.report, nullptr);
    listener.utils = VK_NULL_HANDLE;
    listener.report = VK_NULL_HANDLE;
  }
}

void DebugMessages::Forget(VkInstance instance) {
  listeners_.remove_if([&](const Listener& each) { return each.instance == instance; });
}

template <typename Create, typename Info, typename Handle>
VkResult DebugMessages::Listen(Create create, VkInstance instance, Info info, uint64_t wishes, Handle Listener::*slot,
                               ObjectId id, Handle* made) {
  if (create == nullptr) return VK_ERROR_EXTENSION_NOT_PRESENT;
  const auto deaf = std::find_if(listeners_.begin(), listeners_.end(), [&](const Listener& each) {
    return each.*slot != VK_NULL_HANDLE && !each.is_log && each.messenger == kNullObject && each.wishes == wishes &&
           each.instance == instance;
  });
  Listener* listener = deaf == listeners_.end() ? AddListener(instance, wishes) : &*deaf;
  if (deaf == listeners_.end()) {
    Call(listener, &info);
    const VkResult result = create(instance, &info, nullptr, &(listener->*slot));
    if (result != VK_SUCCESS) {
      listeners_.pop_back();
      return result;
    }
  }
  listener->messenger = id;
  *made = listener->*slot;
  return VK_SUCCESS;
}

VkResult DebugMessages::Listen(const vk::DispatchTable& driver, VkInstance instance,
                               const VkDebugUtilsMessengerCreateInfoEXT& info, ObjectId id,
                               VkDebugUtilsMessengerEXT* messenger) {
  const uint64_t wishes = uint64_t{info.messageSeverity} << 32 | info.messageType;
  return Listen(driver.CreateDebugUtilsMessengerEXT, instance, info, wishes, &Listener::utils, id, messenger);
}

VkResult DebugMessages::Listen(const vk::DispatchTable& driver, VkInstance instance,
                               const VkDebugReportCallbackCreateInfoEXT& info, ObjectId id,
                               VkDebugReportCallbackEXT* messenger) {
  return Listen(driver.CreateDebugReportCallbackEXT, instance, info, info.flags, &Listener::report, id, messenger);
}

bool DebugMessages::Listens(VkInstance instance) const {
  return std::any_of(listeners_.begin(), listeners_.end(),
                     [&](const Listener& listener) { return listener.instance == instance; });
}

void DebugMessages::Deafen(ObjectId id) {
  for (Listener& listener : listeners_) {
    ObjectId expected = id;
    listener.messenger.compare_exchange_strong(expected, kNullObject);
  }
}

// --- messages ------------------------------------------------------------------------------------

VkBool32 DebugMessages::OnUtils(VkDebugUtilsMessageSeverityFlagBitsEXT severity, VkDebugUtilsMessageTypeFlagsEXT types,
                                const VkDebugUtilsMessengerCallbackDataEXT* data, void* user) {
  const auto& listener = *static_cast<const Listener*>(user);
  DebugMessages& self = *listener.owner;
  if (listener.is_log) {
    self.LogMessage(severity, View(data->pMessage));
    // Then the layer does not hand the command on.
    return self.strict_ && (severity & VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT) != 0 ? VK_TRUE : VK_FALSE;
  }
  const bool validated =
      (types & (VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT)) != 0;
  if (View(data->pMessageIdName) == kLoader) return VK_FALSE;
  if (self.validation_ && !self.forward_validation_ && validated) return VK_FALSE;
  wire::SubmitDebugUtilsMessageEXTArgs message{};
  message.messageSeverity = severity;
  message.messageTypes = types;
  message.pCallbackData = data;
  self.Send(listener, wire::DebugForm::kUtils, message);
  return VK_FALSE;
}

VkBool32 DebugMessages::OnReport(VkDebugReportFlagsEXT flags, VkDebugReportObjectTypeEXT type, uint64_t object,
                                 size_t location, int32_t code, const char* prefix, const char* text, void* user) {
  const auto& listener = *static_cast<const Listener*>(user);
  DebugMessages& self = *listener.owner;
  if (View(prefix) == kLoader) return VK_FALSE;
  if (self.validation_ && !self.forward_validation_ && View(prefix) == kValidation) return VK_FALSE;
  wire::DebugReportMessageEXTArgs message{};
  message.flags = flags;
  message.objectType = type;
  message.object = object;
  message.location = location;
  message.messageCode = code;
  message.pLayerPrefix = prefix == nullptr ? "" : prefix;
  message.pMessage = text == nullptr ? "" : text;
  self.Send(listener, wire::DebugForm::kReport, message);
  return VK_FALSE;
}

void DebugMessages::Say(const Instance& instance, const std::string& text) {
  const vk::DispatchTable& driver = instance.context.table;
  if (driver.SubmitDebugUtilsMessageEXT != nullptr) {
    VkDebugUtilsMessengerCallbackDataEXT data{};
    data.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CALLBACK_DATA_EXT;
    data.pMessageIdName = kOurs;
    data.pMessage = text.c_str();
    driver.SubmitDebugUtilsMessageEXT(instance.handle, VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
                                      VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT, &data);
  } else if (driver.DebugReportMessageEXT != nullptr) {
    driver.DebugReportMessageEXT(instance.handle, VK_DEBUG_REPORT_ERROR_BIT_EXT,
                                 VK_DEBUG_REPORT_OBJECT_TYPE_UNKNOWN_EXT, 0, 0, 0, kOurs, text.c_str());
  }
}

void DebugMessages::LogMessage(VkDebugUtilsMessageSeverityFlagBitsEXT severity, std::string_view text) {
  const bool error = (severity & VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT) != 0;
  const uint64_t before = validation_errors_ + validation_warnings_;
  ++(error ? validation_errors_ : validation_warnings_);
  const auto level = error ? LogLevel::kError : LogLevel::kWarning;
  if (before < limits::kMaxValidationLines) Log(level, "session {}: validation: {}", session_, text);
  if (before == limits::kMaxValidationLines)
    Log(level, "session {}: more validation messages are only counted", session_);
}

template <typename Message>
void DebugMessages::Send(const Listener& listener, wire::DebugForm form, const Message& message) noexcept {
  const ObjectId id = listener.messenger;
  if (id == kNullObject && !listener.in_chain) return;
  const CommandRun* run = Session::current();
  const wire::DebugMessage head{id, run != nullptr && run->wants_reply ? run->sequence : 0, form, 0};
  try {
    wire::ByteBuffer out;
    const size_t mark = wire::BeginRecord(&out, static_cast<uint16_t>(wire::EventKind::kDebugMessage), 0);
    out.Append(&head, sizeof(head));
    const KnownObjects objects(table_);
    wire::Encoder encoder(&out, &objects);
    wire::EncodeRequest(encoder, message);
    const bool fits = wire::EndRecord(&out, mark) && out.size() <= limits::kMaxDebugMessageBytes;
    if (fits && outbox_->SendIfRoom({out.data(), out.size()}, limits::kMaxQueuedMessageBytes)) {
      ++sent_;
      return;
    }
  } catch (const std::exception&) {
    // Nothing may be thrown into the driver.
  }
  if (dropped_++ == 0)
    Log(LogLevel::kWarning, "session {}: messages for the client's debug messengers are dropped", session_);
}

std::string DebugMessages::Summary() const {
  const uint64_t errors = validation_errors_;
  const uint64_t warnings = validation_warnings_;
  std::string text = fmt::format("{} validation messages", errors + warnings);
  if (errors + warnings != 0) text += fmt::format(" ({} errors, {} warnings)", errors, warnings);
  return text + fmt::format(", {} debug messages sent, {} dropped", sent_.load(), dropped_.load());
}

}  // namespace vesper::server
