// The application's debug messengers and report callbacks, and the messages of the server for them. A message comes as an
// event, on whichever thread reads; it is kept until a thread of the application ends a call (client/session/delivery.h) and is
// given to the callback there, with no lock held. The function and its user data never leave this process.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <span>
#include <variant>
#include <vector>

#include "client/base/function_ref.h"
#include "generated/wire/debug.h"
#include "runtime/mutex.h"
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

// Owned by the session. Thread-safe; the lock is never held while a callback runs. Functions may throw std::bad_alloc unless
// they are noexcept.
class Messages {
 public:
  void Add(const Messenger& messenger);
  void Remove(ObjectId id) noexcept;
  // Those in the chain of an instance's create-info.
  void AddChain(const void* chain);

  // Takes an event; false when it is malformed. Called by the connection's reader. `awaited` tells whether a thread waits for
  // the reply to a record: that thread delivers the messages of the record's execution. Messages of records that nobody waits
  // for are delivered by any thread.
  bool Arrived(std::span<const uint8_t> body, FunctionRef<bool(uint64_t sequence)> awaited);
  // The calling thread has got the reply to that record, and delivers the messages of its execution.
  void Claim(uint64_t sequence) noexcept;
  // Calls the callbacks for those messages that the calling thread, or any thread, is to deliver. Does nothing within a
  // callback. A malformed message ends the session.
  void Deliver(Session& session) noexcept;
  bool pending() const { return pending_.load(std::memory_order_relaxed) != 0; }

  // Calls every callback that wants a message which the application itself gives.
  void Give(const UtilsMessage& message) const;
  void Give(const ReportMessage& message) const;

 private:
  struct Pending {
    wire::DebugMessage head;
    const void* owner = nullptr;  // address of a variable of the thread that claimed it
    std::vector<uint8_t> bytes;   // of the arguments
  };

  bool Take(Pending* message) noexcept;
  std::vector<Messenger> Listeners(bool of_chain, ObjectId id) const;
  template <typename Message>
  bool Decode(Session& session, const Pending& message) const;

  mutable Mutex mutex_;
  std::vector<Messenger> messengers_ VESPER_GUARDED_BY(mutex_);
  std::deque<Pending> messages_ VESPER_GUARDED_BY(mutex_);
  size_t bytes_ VESPER_GUARDED_BY(mutex_) = 0;
  uint64_t dropped_ VESPER_GUARDED_BY(mutex_) = 0;
  std::atomic<size_t> pending_{0};
};

}  // namespace vesper::client
