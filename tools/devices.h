// What a program sees of a server, through the loader and our driver.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/address.h"

namespace vesper::tools {

struct SeenDevice {
  std::string name;
  uint32_t version;  // VkPhysicalDeviceProperties::apiVersion
};

// The GPUs of a server. Empty, with a sentence in `error` where something failed. Changes the environment of this process.
std::vector<SeenDevice> DevicesOf(const Address& address, std::string* error);

}  // namespace vesper::tools
