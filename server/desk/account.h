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

  Account& operator+=(const Account& other) {
    bytes_in += other.bytes_in;
    bytes_out += other.bytes_out;
    messages += other.messages;
    commands += other.commands;
    replies += other.replies;
    gpu_nanoseconds += other.gpu_nanoseconds;
    return *this;
  }
};

}  // namespace vesper::server
