// The server end of a loopback channel, played by a test: it collects the records that the client sends and answers as told.
#pragma once

#include <vulkan/vulkan.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "runtime/channel.h"
#include "runtime/wire/control.h"
#include "runtime/wire/record.h"

namespace vesper::client {

// One record as it came.
struct Received {
  uint16_t command = 0;
  uint64_t sequence = 0;  // 0: no reply is wanted
  std::vector<uint8_t> body;
};

class ScriptedServer {
 public:
  // `on_record` runs on the server's thread for each record, in order. Without it every record that wants a reply gets an
  // empty answer.
  using OnRecord = std::function<void(ScriptedServer&, const Received&)>;
  explicit ScriptedServer(OnRecord on_record = {});
  ~ScriptedServer();

  std::unique_ptr<Channel> TakeClientEnd() { return std::move(client_); }

  void Answer(uint64_t sequence, std::span<const uint8_t> body = {}) { AnswerWith(sequence, {}, body); }
  // The command was on an object that could not be made.
  void AnswerInert(uint64_t sequence) {
    AnswerWith(sequence, {wire::ReplyKind::kInert, VK_ERROR_OUT_OF_DEVICE_MEMORY}, {});
  }
  void AnswerResult(uint64_t sequence, int32_t result) {
    Answer(sequence, {reinterpret_cast<const uint8_t*>(&result), sizeof(result)});
  }
  void SendEvent(wire::EventKind kind, const void* body, size_t size);
  void Complete(ObjectId queue, uint64_t serial);
  // Bytes that the device wrote, as one run.
  void ChangeMemory(ObjectId memory, uint64_t offset, const std::string& bytes);
  // The server closes its end when the client has said Goodbye, and the client has time to see it.
  void HangUpAfterGoodbye() { hang_up_ = true; }
  void Hang() { server_->Close(); }

  // All records so far with this command.
  std::vector<Received> Records(uint16_t command);
  // Waits until there are `count` of them; false after five seconds.
  bool AwaitRecords(uint16_t command, size_t count);

 private:
  void Serve();
  void AnswerWith(uint64_t sequence, const wire::ReplyHeader& header, std::span<const uint8_t> body);

  std::unique_ptr<Channel> client_;
  std::unique_ptr<Channel> server_;
  OnRecord on_record_;
  std::atomic<bool> hang_up_{false};
  std::mutex mutex_;
  std::condition_variable came_;
  std::vector<Received> records_;
  std::thread thread_;
};

}  // namespace vesper::client
