// The port of a guest whose vesper-agent brings Mesa's Venus driver (runtime/agent_line.h): what the driver says goes on as by a
// socket; memory is files that the agent makes on the memory that guest and host share, and says the places of.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "runtime/agent_line.h"
#include "runtime/descriptor.h"
#include "server/memory/shared_pages.h"

namespace vesper::server {

// What the guest says is checked: places lie within the file, are nobody else's as long as they are used here (locks on the file,
// as in runtime/area.h), and are what the guest has as well. Lives from the worker's session to its end. Thread-safe; a thread of its
// own reads the port, so that whoever waits for memory waits for nobody but the agent.
class AgentPort final : public PageSource {
 public:
  // A connected port and the file of the guest's memory for this. Null when descriptors are exhausted.
  static std::unique_ptr<AgentPort> Make(Descriptor port, Descriptor file);
  ~AgentPort() override;
  AgentPort(const AgentPort&) = delete;
  AgentPort& operator=(const AgentPort&) = delete;

  // From which what the driver says can be read. Once.
  int TakeStream() { return stream_.Release(); }
  // To the driver: bytes, and with a byte a file, or an event that comes to pass when `event` is readable. False when it has gone.
  bool Send(std::span<const uint8_t> bytes);
  bool Pass(uint64_t number);
  bool PassEvent(Descriptor event);
  void Nudge();
  // Any thread; everything in progress and to come fails.
  void Close() const;
  uint64_t received() const { return received_; }

  std::optional<NumberedPages> Make(uint64_t size) override;
  void Drop(uint64_t number) override;
  int file() const override { return file_.get(); }

 private:
  AgentPort(Descriptor port, Descriptor file, Descriptor stream, Descriptor inner, Descriptor wake);
  bool SendFrame(AgentFrame::Kind kind, std::span<const uint8_t> body);
  bool SendNumber(AgentFrame::Kind kind, uint64_t number);
  void Run();
  bool Read();
  bool TakeFrames();
  bool Take(AgentFrame frame, const uint8_t* body);
  void NoteMade(const uint8_t* body, size_t size);
  bool Forward();
  void TellEvents();
  std::optional<std::string> Check(const AgentFrame::Make& asked, const std::vector<MemoryPlace>& places) const;
  bool Lock(const std::vector<MemoryPlace>& places);
  void Unlock(const std::vector<MemoryPlace>& places);

  const Descriptor port_, file_;
  Descriptor stream_;  // a pipe: the front end's end
  Descriptor inner_;   // the end here; the thread's
  const Descriptor wake_;
  uint64_t file_bytes_ = 0;
  std::atomic<bool> stop_ = false;
  std::atomic<uint64_t> received_ = 0;

  std::mutex send_mutex_;  // a frame is sent at a time

  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
  uint64_t numbers_ = 0;
  std::map<uint64_t, std::optional<std::vector<MemoryPlace>>> asked_;  // with what was answered
  std::map<uint64_t, Descriptor> events_;

  std::mutex files_mutex_;  // guards what follows; not taken by the thread
  std::map<uint64_t, std::vector<MemoryPlace>> held_;
  std::map<uint64_t, uint64_t> in_use_;  // where, how much: all places held

  // The thread's.
  bool greeted_ = false;
  std::vector<uint8_t> buffer_;   // came, and is no whole frame yet
  std::vector<uint8_t> pending_;  // the driver said it, and the front end has not room for it yet
  std::thread thread_;
};

}  // namespace vesper::server
