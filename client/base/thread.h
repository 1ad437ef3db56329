// Threads of the library block all signals: a handler of the application must not run on a thread that it does not know.
#pragma once

#include <thread>

#include "client/base/function_ref.h"

namespace vesper::client {

// Runs `start`, which makes the thread, with all signals blocked, which the thread inherits. Throws what `start` throws.
std::thread StartWithoutSignals(FunctionRef<std::thread()> start);

}  // namespace vesper::client
