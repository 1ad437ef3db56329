// A Vulkan driver without a device: it reads everything that it is given, as a real one would, and writes everything that
// it may write, so that AddressSanitizer sees what a decoder left wrong. For the fuzzers of the server.
#pragma once

#include <memory>

#include "server/device/driver.h"

namespace vesper::test {

std::unique_ptr<server::Driver> MakeNullDriver();

// Frees what applications left mapped or allocated. Nothing may use the driver meanwhile.
void ResetNullDriver();

}  // namespace vesper::test
