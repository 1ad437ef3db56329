// Bounds on what a peer can make the other side allocate or walk. A session that exceeds one ends with a message.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vesper::wire {

inline constexpr uint32_t kMaxNesting = 32;                        // structs within structs and pNext chains
inline constexpr uint32_t kMaxChainLength = 512;                   // members of one pNext chain
inline constexpr size_t kMaxRecordBytes = size_t{256} << 20;       // one encoded command
inline constexpr size_t kMaxMessageBytes = size_t{384} << 20;      // payload of one message of a channel
inline constexpr size_t kMaxHandshakeBytes = size_t{4} << 20;      // a Hello, Welcome, Refused or Goodbye
inline constexpr size_t kMaxArenaBytes = size_t{512} << 20;        // what one decoded command may occupy
inline constexpr uint64_t kMaxOutputElements = uint64_t{1} << 24;  // elements of one output array
inline constexpr size_t kMaxOutputBytes = size_t{256} << 20;       // bytes of one output array
inline constexpr size_t kMaxFixedPart = 4096;                      // fixed-size part of one struct or command

}  // namespace vesper::wire
