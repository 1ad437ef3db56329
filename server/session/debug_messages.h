// What the driver and its layers say about a session: the messages of --validation for the log, and
// those that the client's debug messengers and report callbacks hear, sent as events. The driver
// calls functions of the server; the application's own functions and data never leave its process.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <cstdint>
#include <list>
#include <string>
#include <string_view>

#include "generated/vk/dispatch_table.h"
#include "generated/wire/debug.h"
#include "runtime/handle_table.h"
#include "runtime/wire/control.h"
#include "server/channel/outbox.h"
#include "server/device/device.h"
#include "server/device/driver.h"

namespace vesper::server {

// Threading: the members that overrides call belong to the session's thread; messages come on any
// thread that is inside the driver, and on the driver's own.
class DebugMessages {
 public:
  // `options`: those of --validation.
  DebugMessages(HandleTable* table, Outbox* outbox, uint64_t session, const DriverOptions& options);
  DebugMessages(const DebugMessages&) = delete;
  DebugMessages& operator=(const DebugMessages&) = delete;

  // Whether the client wants the validation layer's messages too; before its first command.
  void ForwardValidation(bool wanted) { forward_validation_ = wanted; }

  // The chain of an instance's create-info, changed in place so that its messengers call the
  // server, and the server's own in front. It is good for one vkCreateInstance.
  const void* Attach(const void* chain);
  // The call of vkCreateInstance made this instance; null: it failed.
  void Begin(Instance* instance);
  // Before vkDestroyInstance or the session's end: ends the driver's messengers.
  void End(Instance* instance);
  // After vkDestroyInstance.
  void Forget(VkInstance instance);

  // Gives the driver a messenger for the client's messenger with that id. The driver may be calling
  // a messenger when the client destroys its own, and Vulkan forbids to destroy it then. So messengers
  // of the driver are never destroyed while the instance lives: they are muted, and used again for
  // a client's messenger with the same masks.
  VkResult Listen(const vk::DispatchTable& driver, VkInstance instance, const VkDebugUtilsMessengerCreateInfoEXT& info,
                  ObjectId id, VkDebugUtilsMessengerEXT* messenger);
  VkResult Listen(const vk::DispatchTable& driver, VkInstance instance, const VkDebugReportCallbackCreateInfoEXT& info,
                  ObjectId id, VkDebugReportCallbackEXT* messenger);
  void Deafen(ObjectId id);
  // Whether the driver has messengers of this instance, which go when it goes.
  bool Listens(VkInstance instance) const;

  // Tells the messengers of that instance, as a layer would, of a mistake that this server has found. Any thread.
  static void Say(const Instance& instance, const std::string& text);

  // For the session's summary: "3 validation messages (2 errors, 1 warning), 5 messages sent, 0
  // dropped".
  std::string Summary() const;

 private:
  struct Listener {
    DebugMessages* owner = nullptr;
    bool is_log = false;                   // the server's own
    VkInstance instance = VK_NULL_HANDLE;  // null while it is being made
    uint64_t wishes = 0;                   // the masks
    VkDebugUtilsMessengerEXT utils = VK_NULL_HANDLE;
    VkDebugReportCallbackEXT report = VK_NULL_HANDLE;
    bool in_chain = false;
    std::atomic<ObjectId> messenger = kNullObject;  // null: nobody listens, unless it is in the chain
  };

  static VKAPI_ATTR VkBool32 VKAPI_CALL OnUtils(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                                VkDebugUtilsMessageTypeFlagsEXT types,
                                                const VkDebugUtilsMessengerCallbackDataEXT* data, void* user);
  static VKAPI_ATTR VkBool32 VKAPI_CALL OnReport(VkDebugReportFlagsEXT flags, VkDebugReportObjectTypeEXT type,
                                                 uint64_t object, size_t location, int32_t code, const char* prefix,
                                                 const char* text, void* user);
  static void Call(Listener* listener, VkDebugUtilsMessengerCreateInfoEXT* info);
  static void Call(Listener* listener, VkDebugReportCallbackCreateInfoEXT* info);
  Listener* AddListener(VkInstance instance, uint64_t wishes);
  VkDebugUtilsMessengerCreateInfoEXT InfoOfLog(Listener* log) const;
  template <typename Create, typename Info, typename Handle>
  VkResult Listen(Create create, VkInstance instance, Info info, uint64_t wishes, Handle Listener::*slot, ObjectId id,
                  Handle* made);
  void LogMessage(VkDebugUtilsMessageSeverityFlagBitsEXT severity, std::string_view text);
  template <typename Message>
  void Send(const Listener& listener, wire::DebugForm form, const Message& message) noexcept;

  HandleTable* const table_;
  Outbox* const outbox_;
  const uint64_t session_;
  const bool validation_;
  const bool strict_;
  bool forward_validation_ = false;
  VkDebugUtilsMessengerCreateInfoEXT log_in_chain_{};
  std::list<Listener> listeners_;  // where the driver's user data points

  std::atomic<uint64_t> validation_errors_ = 0;
  std::atomic<uint64_t> validation_warnings_ = 0;
  std::atomic<uint64_t> sent_ = 0;
  std::atomic<uint64_t> dropped_ = 0;
};

}  // namespace vesper::server
