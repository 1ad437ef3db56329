// The driver's side of the Venus protocol, by the same tables: tests write requests and read replies with it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/wire/encoder.h"
#include "server/venus/tables.h"

namespace vesper::test {

// Appends a command with the arguments at `args`, whose chains lose what the protocol does not know. Handles are the numbers.
void WriteRequest(const venus::CommandTable& command, uint8_t* args, wire::ByteBuffer* out);

// Reads a reply into the memory that the arguments point at. "" or what is wrong with it.
std::string ReadReply(const venus::CommandTable& command, std::span<const uint8_t> bytes, uint8_t* args);

}  // namespace vesper::test
