// What a worker regularly tells the supervisor of its session, for whoever runs the server.
#pragma once

#include <array>
#include <cstdint>

namespace vesper::server {

// Sent as it lies in memory: both ends are processes of one server.
struct Account {
  uint64_t bytes_in = 0, bytes_out = 0;
  uint64_t messages = 0, commands = 0, replies = 0;
  uint64_t gpu_nanoseconds = 0;
  // Messages as they were before they were packed, and mapped memory: bytes that clients wrote, that the GPU was found to have
  // written, and that were compared for that.
  uint64_t unpacked_in = 0, unpacked_out = 0;
  uint64_t memory_in = 0, memory_out = 0, memory_compared = 0;
  uint64_t resumptions = 0;  // how often it went on over another connection
  // Since when its connection is broken and its client is waited for; 0: it is not. No sum has it.
  uint64_t broken_nanoseconds = 0;

  Account& operator+=(const Account& other) {
    bytes_in += other.bytes_in;
    bytes_out += other.bytes_out;
    messages += other.messages;
    commands += other.commands;
    replies += other.replies;
    gpu_nanoseconds += other.gpu_nanoseconds;
    unpacked_in += other.unpacked_in;
    unpacked_out += other.unpacked_out;
    memory_in += other.memory_in;
    memory_out += other.memory_out;
    memory_compared += other.memory_compared;
    resumptions += other.resumptions;
    return *this;
  }
};

}  // namespace vesper::server
