// The application's debug messengers and report callbacks, and the messages of the server for them. A message comes as an
// event, on whichever thread reads; it is kept until a thread of the application ends a call (client/delivery.h) and is
// given to the callback there, with no lock held. The function and its user data never leave this process.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <span>
#include <variant>
#include <vector>

#include "generated/wire/debug.h"
#include "runtime/object_id.h"
#include "runtime/wire/control.h"

namespace vesper::client {

class Session;

// What the application wants called, in either form.
struct Messenger {
  ObjectId id = kNullObject;  // null: of an instance's create-info, for what happens in its creation and destruction
  std::variant<VkDebugUtilsMessengerCreateInfoEXT, VkDebugReportCallbackCreateInfoEXT> info;
};

// What callbacks are given: the arguments of the commands that let an application give it itself.
using UtilsMessage = wire::SubmitDebugUtilsMessageEXTArgs;
using ReportMessage = wire::DebugReportMessageEXTArgs;

// Thread-safe. May throw std::bad_alloc, unless it says otherwise.
class Messages {
 public:
  // More than this is not kept for a program that makes no calls; a line says so.
  static constexpr size_t kMaxPending = 4096;
  static constexpr size_t kMaxPendingBytes = size_t{4} << 20;

  void Add(const Messenger& messenger);
  void Remove(ObjectId id) noexcept;
  // Those in the chain of an instance's create-info.
  void AddChain(const void* chain);

  // An event. False when it is malformed. By the connection's reader.
  bool Arrived(std::span<const uint8_t> body);
  // The calling thread has the reply to that record: messages of its execution are this thread's to deliver.
  void Claim(uint64_t sequence) noexcept;
  // Calls the callbacks of messages that are the calling thread's, or nobody's in particular. Not within a callback.
  // The session is lost when one is malformed.
  void Deliver(Session& session) noexcept;
  bool pending() const { return pending_.load(std::memory_order_relaxed) != 0; }

  // The application's own messages: every callback that wants them, at once.
  void Give(const UtilsMessage& message) const;
  void Give(const ReportMessage& message) const;

 private:
  struct Pending {
    wire::DebugMessage head;
    const void* owner = nullptr;  // the thread that claimed it
    std::vector<uint8_t> bytes;   // of the arguments
  };

  bool Take(Pending* message) noexcept;
  std::vector<Messenger> Listeners(bool of_chain, ObjectId id) const;
  template <typename Message>
  bool Decode(Session& session, const Pending& message) const;

  mutable std::mutex mutex_;  // never held while a callback runs
  std::vector<Messenger> messengers_;
  std::deque<Pending> messages_;
  size_t bytes_ = 0;
  uint64_t dropped_ = 0;
  std::atomic<size_t> pending_{0};
};

}  // namespace vesper::client
