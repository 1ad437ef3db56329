// Entry points that count that they were called, for VESPER_STATS: commands which the client answers by itself among
// them. Given to the application only when it asked for statistics; others pay nothing.
#pragma once

#include <vulkan/vulkan.h>

#include "client/base/statistics.h"

namespace vesper::client {

template <auto function, Command command>
struct Counting;

template <typename R, typename... Arguments, R(VKAPI_PTR* function)(Arguments...), Command command>
struct Counting<function, command> {
  static VKAPI_ATTR R VKAPI_CALL Call(Arguments... arguments) {
    CountEntry(command);
    return function(arguments...);
  }
};

}  // namespace vesper::client
