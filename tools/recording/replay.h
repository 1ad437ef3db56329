// Plays a recording to a server: as a client that sends what the recorded one sent, each message not before everything has come
// that had come to the recorded client by then. So the order between what the program saw and what it did is kept, and the speed is
// the server's. Object ids are the client's own, which is why nothing has to be translated but addresses (addresses.h).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "runtime/address.h"

namespace vesper::tools::recording {

struct ReplayOptions {
  Address server;
  std::string file;
  uint64_t frames = 0;       // presented, after which it ends; 0: all
  bool compare = false;      // what the program could read, and what it presented
  int patience_ms = 60'000;  // how long nothing may come that has to
};

struct ReplayResult {
  std::string error;  // why it ended before its time
  std::string flaw;   // of the file: its end is missing
  uint64_t messages = 0, bytes = 0, commands = 0, replies = 0, frames = 0, moved_addresses = 0;
  double seconds = 0, recorded_seconds = 0;
  // Whole memory objects, each time when nothing was under way; and presented pictures.
  uint64_t states = 0, different_states = 0, pictures = 0, different_pictures = 0;
  std::vector<std::string> differences;           // the first few, as sentences
  std::map<std::string, uint64_t> other_replies;  // by command: replies that differ from the recorded ones
};

ReplayResult Replay(const ReplayOptions& options);

}  // namespace vesper::tools::recording
