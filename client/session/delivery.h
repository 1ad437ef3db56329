// Entry points that give the application, when they end, the messages that have come for its callbacks: then no lock of the
// call is held, so that a callback may call Vulkan. The generated table of names is made of them.
#pragma once

#include <vulkan/vulkan.h>

#include "client/session/call.h"

namespace vesper::client {

// Delivers the messages for the session's callbacks that this thread may deliver. The caller holds no lock, since callbacks
// may call Vulkan.
void Deliver(Session& session) noexcept;

// Delivers on destruction, by the calling thread. Null handles have no session.
class Delivery {
 public:
  explicit Delivery(const void* dispatchable) noexcept
      : session_(dispatchable == nullptr ? nullptr : &SessionOf(dispatchable)) {}
  ~Delivery() {
    if (session_ != nullptr) Deliver(*session_);
  }
  Delivery(const Delivery&) = delete;
  Delivery& operator=(const Delivery&) = delete;

 private:
  Session* const session_;
};

template <auto function>
struct Delivering;

template <typename R, typename First, typename... Rest, R(VKAPI_PTR* function)(First, Rest...)>
struct Delivering<function> {
  static VKAPI_ATTR R VKAPI_CALL Call(First first, Rest... rest) {
    const Delivery delivery(first);
    return function(first, rest...);
  }
};

}  // namespace vesper::client
