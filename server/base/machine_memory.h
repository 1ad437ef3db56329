// How much memory there is for this process: the machine's, or what its control groups leave of it.
#pragma once

#include <cstdint>

namespace vesper::server {

// In all, in bytes.
uint64_t MachineMemory();
// Free now.
uint64_t AvailableMemory();

}  // namespace vesper::server
