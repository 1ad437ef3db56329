// Where the library's messages go, see SetLogFunction.
#pragma once

#include <string>

#include "vesper/compute/instance.h"

namespace vesper::compute {

void Log(LogLevel level, const std::string& message);

}  // namespace vesper::compute
