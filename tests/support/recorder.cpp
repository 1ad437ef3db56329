// vesper_recorder LISTEN SERVER FOLDER: stands between clients and a server, passes every message on, and writes what it
// saw as inputs of the fuzzers (tests/fuzz): FOLDER/server (batches), FOLDER/client (requests with their replies, events)
// and FOLDER/message (the stream as it was). Prints "listening on ADDRESS". Ends at SIGTERM. run_remote.sh --record uses it.
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "runtime/address.h"
#include "runtime/transport/frame.h"
#include "runtime/wire/encoder.h"
#include "runtime/wire/record.h"

namespace vesper::test {
namespace {

constexpr size_t kMaxInput = 48 * 1024;
constexpr uint16_t kFirstEvent = 0xff00;  // as client_fuzzer.cpp has it

void WriteInput(const std::filesystem::path& path, std::span<const uint8_t> bytes) {
  if (bytes.empty()) return;
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

void Append(wire::ByteBuffer* out, uint16_t command, uint16_t flags, std::span<const uint8_t> body) {
  if (out->size() + body.size() > kMaxInput) return;
  const size_t mark = wire::BeginRecord(out, command, flags);
  out->Append(body.data(), body.size());
  wire::EndRecord(out, mark);
}

// What one session said, as far as inputs are long. Thread-safe: two threads pass messages on.
class Recording {
 public:
  void Sent(const Message& message) {
    const std::lock_guard lock(mutex_);
    Keep(message);
    if (message.kind != MessageKind::kBatch) return;
    std::span<const uint8_t> bytes = message.payload;
    uint64_t sequence = message.sequence;
    wire::RecordHeader header;
    std::span<const uint8_t> body;
    while (wire::NextRecord(&bytes, &header, &body)) {
      Append(&server_, header.command, header.flags, body);
      if ((header.flags & wire::kWantsReply) == 0) continue;
      asked_[sequence++] = {header.command, {body.begin(), body.end()}};
    }
  }
  void Received(const Message& message) {
    const std::lock_guard lock(mutex_);
    Keep(message);
    if (message.kind == MessageKind::kReply) {
      const auto asked = asked_.find(message.sequence);
      if (asked == asked_.end()) return;
      Append(&client_, asked->second.command, 0, asked->second.body);
      Append(&client_, asked->second.command, wire::kWantsReply, message.payload);
      asked_.erase(asked);
    } else if (message.kind == MessageKind::kEvent) {
      std::span<const uint8_t> bytes = message.payload;
      wire::RecordHeader header;
      std::span<const uint8_t> body;
      while (wire::NextRecord(&bytes, &header, &body)) {
        Append(&client_, static_cast<uint16_t>(kFirstEvent + header.command), 0, body);
      }
    }
  }
  void Write(const std::filesystem::path& folder, const std::string& name) {
    const std::lock_guard lock(mutex_);
    WriteInput(folder / "server" / name, {server_.data(), server_.size()});
    WriteInput(folder / "client" / name, {client_.data(), client_.size()});
    WriteInput(folder / "message" / name, {stream_.data(), stream_.size()});
  }

 private:
  struct Asked {
    uint16_t command;
    std::vector<uint8_t> body;
  };

  void Keep(const Message& message) {
    if (stream_.empty()) stream_.Append(1)[0] = 0;  // read in one piece
    const std::span<const uint8_t> part(message.payload);
    transport::OutgoingFrame frame(message.kind, message.sequence, {&part, 1});
    iovec vectors[4];
    while (!frame.done()) {
      size_t total = 0;
      const size_t count = frame.Gather(vectors);
      for (size_t i = 0; i < count; ++i) {
        if (stream_.size() + vectors[i].iov_len > kMaxInput) return;
        stream_.Append(vectors[i].iov_base, vectors[i].iov_len);
        total += vectors[i].iov_len;
      }
      frame.Advance(total);
    }
  }

  std::mutex mutex_;
  wire::ByteBuffer server_;
  wire::ByteBuffer client_;
  wire::ByteBuffer stream_;
  std::map<uint64_t, Asked> asked_;
};

void Pass(Channel* from, Channel* to, Recording* recording, void (Recording::*keep)(const Message&)) {
  Message message;
  while (from->Receive(&message, std::chrono::milliseconds(-1)) == ChannelStatus::kOk) {
    (recording->*keep)(message);
    const std::span<const uint8_t> part(message.payload);
    if (to->Send(message.kind, message.sequence, {&part, 1}) != ChannelStatus::kOk) break;
  }
  from->Close();
  to->Close();
}

void Serve(int socket, const Address& server, const std::filesystem::path& folder, const std::string& name) {
  std::string error;
  const std::unique_ptr<Channel> client = MakeSocketChannel(socket);
  const std::unique_ptr<Channel> there = Connect(server, 5000, &error);
  if (client == nullptr || there == nullptr) return;
  Recording recording;
  std::thread back([&] { Pass(there.get(), client.get(), &recording, &Recording::Received); });
  Pass(client.get(), there.get(), &recording, &Recording::Sent);
  back.join();
  recording.Write(folder, name);
}

std::atomic<bool> g_stop{false};

int Run(const Address& listen, const Address& server, const std::filesystem::path& folder) {
  std::string error;
  const std::unique_ptr<Listener> listener = Listener::Open(listen, &error);
  if (listener == nullptr) {
    std::fprintf(stderr, "%s\n", error.c_str());
    return 1;
  }
  for (const char* part : {"server", "client", "message"}) std::filesystem::create_directories(folder / part);
  std::printf("listening on %s\n", listener->address().ToString().c_str());
  std::fflush(stdout);
  std::vector<std::thread> sessions;
  while (!g_stop) {
    pollfd entry{listener->fd(), POLLIN, 0};
    if (poll(&entry, 1, 100) <= 0) continue;
    const int socket = listener->Accept();
    if (socket < 0) continue;
    const std::string name = std::to_string(getpid()) + "-" + std::to_string(sessions.size());
    sessions.emplace_back([=, &server, &folder] { Serve(socket, server, folder, name); });
  }
  for (std::thread& session : sessions) session.join();
  return 0;
}

}  // namespace
}  // namespace vesper::test

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: vesper_recorder LISTEN SERVER FOLDER\n");
    return 2;
  }
  std::string error;
  const auto listen = vesper::ParseAddress(argv[1], &error);
  const auto server = vesper::ParseAddress(argv[2], &error);
  if (!listen || !server) {
    std::fprintf(stderr, "%s\n", error.c_str());
    return 2;
  }
  signal(SIGTERM, [](int) { vesper::test::g_stop = true; });
  return vesper::test::Run(*listen, *server, argv[3]);
}
