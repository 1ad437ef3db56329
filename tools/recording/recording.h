// The file that `vesper record` writes and `vesper replay` and `vesper trace` read: every message of one session, in the order in
// which it passed, each with the time. docs/recording.md describes the bytes.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/channel.h"
#include "runtime/descriptor.h"
#include "runtime/handshake.h"
#include "runtime/mutex.h"

namespace vesper::tools::recording {

// How the session began.
struct Greeting {
  Hello hello;  // of the client, with the names of its commands and handle types
  uint64_t server_fingerprint = 0;
  uint32_t max_objects = 0;
  bool anonymous = false;  // names and labels were left out
};

struct Entry {
  uint64_t ns = 0;    // since the session began
  bool sent = false;  // by the client
  MessageKind kind = MessageKind::kBatch;
  uint64_t sequence = 0;
  std::vector<uint8_t> payload;
};

// Messages are compressed and written in chunks, each of which stands alone: whatever ends the process, what was written before
// can be read. Any thread.
class Writer {
 public:
  // nullptr with a sentence in `error`. The file is new, and its owner's alone: it holds whatever the program draws.
  static std::unique_ptr<Writer> Create(const std::string& path, const Greeting& greeting, std::string* error);
  ~Writer();  // writes what is left
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // False once the file cannot be written any more; then nothing is kept.
  bool Add(bool sent, MessageKind kind, uint64_t sequence, std::span<const uint8_t> payload);
  // As Add(), of what a recording holds already.
  bool Add(const Entry& entry);
  // What has lain here for a while is written. Called every now and then, also when nothing comes.
  void Tick();
  void Flush();

  uint64_t messages();
  uint64_t stored_bytes();  // of the file
  std::string error();

 private:
  explicit Writer(int file) : file_(file) {}
  void Append(const Entry& entry, std::span<const uint8_t> payload) VESPER_REQUIRES(mutex_);
  void Write() VESPER_REQUIRES(mutex_);

  const Descriptor file_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  Mutex mutex_;
  std::vector<uint8_t> chunk_ VESPER_GUARDED_BY(mutex_);
  std::chrono::steady_clock::time_point chunk_since_ VESPER_GUARDED_BY(mutex_);
  std::vector<uint8_t> stored_ VESPER_GUARDED_BY(mutex_);
  uint64_t messages_ VESPER_GUARDED_BY(mutex_) = 0;
  uint64_t stored_bytes_ VESPER_GUARDED_BY(mutex_) = 0;
  std::string error_ VESPER_GUARDED_BY(mutex_);
};

class Reader {
 public:
  // nullptr with a sentence in `error` for what is no recording.
  static std::unique_ptr<Reader> Open(const std::string& path, std::string* error);

  const Greeting& greeting() const { return greeting_; }
  // The next message; false at the end.
  bool Next(Entry* entry);
  // After the end: what is wrong with the file's last part, or empty.
  const std::string& flaw() const { return flaw_; }

 private:
  explicit Reader(int file) : file_(file) {}
  bool ReadChunk();
  bool ReadGreeting(std::string* error);

  const Descriptor file_;
  Greeting greeting_;
  std::vector<uint8_t> chunk_, stored_;
  size_t at_ = 0;
  std::string flaw_;
};

}  // namespace vesper::tools::recording
