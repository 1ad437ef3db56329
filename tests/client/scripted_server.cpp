#include "tests/client/scripted_server.h"

#include <algorithm>
#include <array>

namespace vesper::client {

ScriptedServer::ScriptedServer(OnRecord on_record) : on_record_(std::move(on_record)) {
  ChannelPair pair = MakeLoopback();
  client_ = std::move(pair.client);
  server_ = std::move(pair.server);
  thread_ = std::thread([this] { Serve(); });
}

ScriptedServer::~ScriptedServer() {
  server_->Close();
  thread_.join();
}

void ScriptedServer::Serve() {
  uint64_t sequence = 0;
  Message message;
  while (server_->Receive(&message, std::chrono::milliseconds(-1)) != ChannelStatus::kClosed) {
    if (message.kind == MessageKind::kGoodbye && hang_up_) server_->Close();
    if (message.kind != MessageKind::kBatch) continue;
    std::span<const uint8_t> rest = message.payload;
    wire::RecordHeader header;
    std::span<const uint8_t> body;
    while (wire::NextRecord(&rest, &header, &body)) {
      const bool wants_reply = (header.flags & wire::kWantsReply) != 0;
      Received record{header.command, wants_reply ? ++sequence : 0, {body.begin(), body.end()}};
      {
        const std::lock_guard lock(mutex_);
        records_.push_back(record);
        came_.notify_all();
      }
      if (on_record_) {
        on_record_(*this, record);
      } else if (wants_reply) {
        Answer(record.sequence);
      }
    }
  }
}

void ScriptedServer::AnswerWith(uint64_t sequence, const wire::ReplyHeader& header, std::span<const uint8_t> body) {
  const std::array<std::span<const uint8_t>, 2> parts{
      {{reinterpret_cast<const uint8_t*>(&header), sizeof(header)}, body}};
  server_->Send(MessageKind::kReply, sequence, parts);
}

void ScriptedServer::SendEvent(wire::EventKind kind, const void* body, size_t size) {
  wire::ByteBuffer bytes;
  const size_t mark = wire::BeginRecord(&bytes, static_cast<uint16_t>(kind), 0);
  bytes.Append(body, size);
  wire::EndRecord(&bytes, mark);
  const std::array<std::span<const uint8_t>, 1> parts{{{bytes.data(), bytes.size()}}};
  server_->Send(MessageKind::kEvent, 0, parts);
}

void ScriptedServer::Complete(ObjectId queue, uint64_t serial) {
  const wire::Completed completed{queue, serial};
  SendEvent(wire::EventKind::kCompleted, &completed, sizeof(completed));
}

void ScriptedServer::ChangeMemory(ObjectId memory, uint64_t offset, const std::string& bytes) {
  wire::ByteBuffer body;
  const wire::MemoryRuns runs{memory, 1, 0};
  const auto size = static_cast<uint32_t>(bytes.size());
  const wire::MemoryRun run{offset, size, size};
  body.Append(&runs, sizeof(runs));
  body.Append(&run, sizeof(run));
  body.Append(bytes.data(), bytes.size());
  SendEvent(wire::EventKind::kMemoryChanged, body.data(), body.size());
}

std::vector<Received> ScriptedServer::Records(uint16_t command) {
  const std::lock_guard lock(mutex_);
  std::vector<Received> found;
  for (const Received& record : records_) {
    if (record.command == command) found.push_back(record);
  }
  return found;
}

bool ScriptedServer::AwaitRecords(uint16_t command, size_t count) {
  std::unique_lock lock(mutex_);
  return came_.wait_for(lock, std::chrono::seconds(5), [&] {
    return static_cast<size_t>(std::count_if(records_.begin(), records_.end(), [command](const Received& record) {
             return record.command == command;
           })) >= count;
  });
}

}  // namespace vesper::client
