// Messages between processes of one server, over a SOCK_SEQPACKET pair, each with a descriptor or without.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/descriptor.h"

namespace vesper::server {

enum class LineStatus : uint8_t { kMessage, kNothing, kEnded };

// False when the line takes nothing: this never waits. `descriptor` goes along unless it is -1; it stays the caller's.
bool Pass(int line, std::span<const std::byte> bytes, int descriptor = -1);
// Takes a message without waiting for one. A message of another length than `bytes` counts as the end of the line. `descriptor`
// becomes the one that came along, or an invalid one.
LineStatus TakePassed(int line, std::span<std::byte> bytes, Descriptor* descriptor);
// The same for a message of up to so many bytes, and one at least.
LineStatus TakePassed(int line, std::span<std::byte> bytes, size_t* size, Descriptor* descriptor);

}  // namespace vesper::server
