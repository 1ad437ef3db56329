#include "tools/recording/replay.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>

#include "generated/wire/buffer.h"
#include "generated/wire/memory.h"
#include "generated/wire/ray_tracing.h"
#include "generated/wire/sync.h"
#include "runtime/handshake.h"
#include "runtime/mutex.h"
#include "runtime/wire/control.h"
#include "runtime/wire/memory_runs.h"
#include "tools/recording/addresses.h"
#include "tools/recording/dialect.h"
#include "tools/recording/memory_copy.h"
#include "tools/recording/recording.h"

namespace vesper::tools::recording {
namespace {

using Clock = std::chrono::steady_clock;
using Bytes = std::span<const uint8_t>;

constexpr int kConnectMilliseconds = 5000;
constexpr size_t kMaxDifferences = 10;
constexpr uint64_t kBytesPerPixel = 4;
constexpr size_t kWord = sizeof(uint64_t);

// How far queues have come, and marks: on the recorded side, and here.
struct Reached {
  std::map<ObjectId, uint64_t> completed;
  uint64_t marks = 0;

  void Complete(ObjectId queue, uint64_t serial) { completed[queue] = std::max(completed[queue], serial); }
  bool Has(ObjectId queue, uint64_t serial) const {
    const auto found = completed.find(queue);
    return found != completed.end() && found->second >= serial;
  }
};

// A picture, until it has been seen on both sides.
struct Picture {
  uint64_t number = 0;  // of the frame
  wire::PresentedFrame frame;
  std::optional<uint64_t> recorded, replayed;
};

struct Copies {
  MemoryCopy recorded, replayed;
};

class Player {
 public:
  Player(const ReplayOptions& options, ReplayResult* result) : options_(options), result_(result) {}
  void Play();

 private:
  struct Expected {
    uint64_t sequence;
    std::vector<uint8_t> payload;
  };

  bool Begin();
  bool Step(const Entry& entry);
  void End();
  bool Fail(std::string why);

  // The recorded side; this thread's.
  void Recorded(const Entry& entry);
  void RecordedEvents(Bytes records);
  bool Idle() const;

  // What is sent.
  bool SendBatch(const Entry& entry);
  void Look(uint16_t number, Bytes body);
  void Written(Bytes body, wire::ByteBuffer* out);
  void Presented(const wire::PresentedFrame& frame);

  // What comes, by a thread of its own.
  void Receive();
  void Events(Bytes records) VESPER_REQUIRES(mutex_);

  bool Await();
  std::string Missing() VESPER_REQUIRES(mutex_);
  bool HasAll() VESPER_REQUIRES(mutex_);
  void TakeReplies() VESPER_REQUIRES(mutex_);
  void TakeReply(const Expected& expected, Bytes now);
  void CompareMemory();
  void ComparePictures() VESPER_REQUIRES(mutex_);
  void Differ(std::string how);

  const ReplayOptions& options_;
  ReplayResult* const result_;
  std::unique_ptr<Reader> reader_;
  std::optional<Dialect> dialect_;
  std::unique_ptr<Channel> channel_;
  std::thread receiver_;
  Arena arena_{wire::kMaxArenaBytes};
  Addresses addresses_;
  bool said_goodbye_ = false;

  struct Asked {
    uint16_t command;
    ObjectId object;  // whose address it asks for
  };
  std::unordered_map<uint64_t, Asked> asked_;
  std::vector<Expected> expected_;  // replies that had come by now
  Reached recorded_;
  std::map<ObjectId, uint64_t> submitted_;
  std::set<ObjectId> changed_;  // memory that the recorded server sent something of since it was last compared

  Mutex mutex_;
  Condition came_;
  bool ended_ VESPER_GUARDED_BY(mutex_) = false;
  std::string goodbye_ VESPER_GUARDED_BY(mutex_);
  uint64_t activity_ VESPER_GUARDED_BY(mutex_) = 0;
  Reached reached_ VESPER_GUARDED_BY(mutex_);
  std::unordered_map<uint64_t, std::vector<uint8_t>> replies_ VESPER_GUARDED_BY(mutex_);
  std::map<ObjectId, Copies> memory_ VESPER_GUARDED_BY(mutex_);
  std::set<ObjectId> changed_here_ VESPER_GUARDED_BY(mutex_);  // the same, of this server
  std::deque<Picture> pictures_ VESPER_GUARDED_BY(mutex_);
};

void Player::Differ(std::string how) {
  if (result_->differences.size() < kMaxDifferences) result_->differences.push_back(std::move(how));
}

bool Player::Fail(std::string why) {
  if (result_->error.empty()) result_->error = std::move(why);
  return false;
}

// --- the whole -----------------------------------------------------------------------------------------------------------

void Player::Play() {
  if (!Begin()) return;
  const auto begin = Clock::now();
  Entry entry;
  while (reader_->Next(&entry)) {
    if (!Step(entry)) break;
    result_->recorded_seconds = static_cast<double>(entry.ns) * 1e-9;
  }
  result_->flaw = reader_->flaw();
  if (result_->error.empty() && Await() && Idle()) CompareMemory();
  result_->seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  End();
  result_->moved_addresses = addresses_.moved();
}

bool Player::Begin() {
  std::string error;
  reader_ = Reader::Open(options_.file, &error);
  if (reader_ == nullptr) return Fail(error);
  const Greeting& greeting = reader_->greeting();
  if (greeting.hello.protocol != kProtocolVersion) {
    return Fail("recorded with version " + std::to_string(greeting.hello.protocol) +
                " of the protocol; this is version " + std::to_string(kProtocolVersion));
  }
  dialect_.emplace(greeting.hello.commands);
  channel_ = Connect(options_.server, kConnectMilliseconds, &error);
  if (channel_ == nullptr) return Fail(error);
  Hello hello = greeting.hello;
  hello.compression = WantedCompression(*channel_, &error);
  const Hello named = hello;
  hello.commands.clear();
  hello.handle_types.clear();
  Welcome welcome;
  if (!Greet(*channel_, hello, &welcome, &error)) return Fail(error);
  if (welcome.names_wanted && !Greet(*channel_, named, &welcome, &error)) return Fail(error);
  if (welcome.max_objects < greeting.max_objects) {
    return Fail("the server allows " + std::to_string(welcome.max_objects) + " objects, the recorded one allowed " +
                std::to_string(greeting.max_objects) + ": start it with a larger --max-objects");
  }
  receiver_ = std::thread([this] { Receive(); });
  return true;
}

// False when nothing more is to be played.
bool Player::Step(const Entry& entry) {
  if (!entry.sent) {
    Recorded(entry);
    return true;
  }
  if (options_.frames != 0 && result_->frames >= options_.frames) {
    const MutexLock lock(mutex_);
    if (pictures_.empty() || result_->frames > options_.frames) return false;
  }
  if (!Await()) return false;
  if (!changed_.empty() && Idle()) CompareMemory();
  if (entry.kind == MessageKind::kBatch) return SendBatch(entry);
  said_goodbye_ = entry.kind == MessageKind::kGoodbye;
  return !said_goodbye_;
}

void Player::End() {
  channel_->Send(MessageKind::kGoodbye, 0, {});
  {
    const auto until = Clock::now() + std::chrono::seconds(10);
    const MutexLock lock(mutex_);
    while (!ended_ && came_.WaitUntil(mutex_, until)) {
    }
  }
  channel_->Close();
  receiver_.join();
}

// --- the recorded side ---------------------------------------------------------------------------------------------------

void Player::Recorded(const Entry& entry) {
  if (entry.kind == MessageKind::kReply) {
    expected_.push_back({entry.sequence, entry.payload});
  } else if (entry.kind == MessageKind::kEvent) {
    RecordedEvents(entry.payload);
  }
}

void Player::RecordedEvents(Bytes records) {
  const MutexLock lock(mutex_);
  ForEachRecord(records, 0, [&](const auto& header, Bytes body, Bytes, uint64_t) VESPER_NOT_ANALYSED {
    switch (static_cast<wire::EventKind>(header.command)) {
      case wire::EventKind::kCompleted: {
        if (body.size() < sizeof(wire::Completed)) return;
        const auto completed = wire::Load<wire::Completed>(body.data());
        recorded_.Complete(completed.queue, completed.serial);
        for (Picture& picture : pictures_) {
          const wire::PresentedFrame& frame = picture.frame;
          if (picture.recorded || !recorded_.Has(frame.queue, frame.serial)) continue;
          picture.recorded =
              memory_[frame.memory].recorded.Hash(frame.offset, kBytesPerPixel * frame.width * frame.height);
        }
        ComparePictures();
        return;
      }
      case wire::EventKind::kMemoryChanged: {
        if (body.size() < sizeof(wire::MemoryRuns)) return;
        const auto runs = wire::Load<wire::MemoryRuns>(body.data());
        Bytes rest = body.subspan(sizeof(runs));
        wire::Run run;
        for (uint32_t i = 0; i < runs.count && wire::NextRun(&rest, &run); ++i) {
          MemoryCopy& copy = memory_[runs.memory].recorded;
          wire::ForEachPiece(run, [&](uint64_t offset, Bytes bytes) { copy.Write(offset, bytes); });
        }
        changed_.insert(runs.memory);
        return;
      }
      case wire::EventKind::kProgress:
        if (body.size() >= sizeof(wire::Progress)) {
          recorded_.marks = std::max(recorded_.marks, wire::Load<wire::Progress>(body.data()).marks);
        }
        return;
      default:
        return;
    }
  });
}

// Whether all that was submitted had completed, as far as the recorded client knew.
bool Player::Idle() const {
  return std::all_of(submitted_.begin(), submitted_.end(),
                     [this](const auto& queue) { return recorded_.Has(queue.first, queue.second); });
}

// --- sending -------------------------------------------------------------------------------------------------------------

bool Player::SendBatch(const Entry& entry) {
  wire::ByteBuffer out;
  const bool moves = !addresses_.empty();
  ForEachRecord(entry.payload, entry.sequence, [&](const auto& header, Bytes body, Bytes record, uint64_t sequence) {
    const size_t begin = out.size();
    if (moves) out.Append(record.data(), record.size());
    if (header.command == static_cast<uint16_t>(wire::Control::kMemoryWrite)) {
      Written(body, moves ? &out : nullptr);
    } else if (header.command == static_cast<uint16_t>(wire::Control::kFrame)) {
      if (body.size() >= sizeof(wire::PresentedFrame)) Presented(wire::Load<wire::PresentedFrame>(body.data()));
    } else {
      if (moves) {
        const std::span<uint8_t> copied(out.data() + begin, record.size());
        addresses_.ForEachIn(copied, 4, [&](size_t at, uint64_t now) { wire::Store(copied.data() + at, now); });
      }
      ++result_->commands;
      if (sequence != 0) asked_[sequence] = {header.command, kNullObject};
      const uint16_t number = dialect_->Number(header.command);
      if (number == Dialect::kUnknown) return;
      Look(number, body);
      if (sequence != 0 && number == static_cast<uint16_t>(Command::kGetBufferDeviceAddress)) {
        const char* error = nullptr;
        const auto* args =
            static_cast<const wire::GetBufferDeviceAddressArgs*>(DecodeRequest(number, body, &arena_, &error));
        if (args != nullptr)
          asked_[sequence].object = wire::Load<ObjectId>(reinterpret_cast<const uint8_t*>(&args->pInfo->buffer));
      } else if (sequence != 0 && number == static_cast<uint16_t>(Command::kGetAccelerationStructureDeviceAddressKHR)) {
        asked_[sequence].object = sequence;  // any that no buffer has
      }
    }
  });
  const Bytes payload = moves ? Bytes(out.data(), out.size()) : Bytes(entry.payload);
  result_->bytes += payload.size();
  ++result_->messages;
  if (channel_->Send(entry.kind, entry.sequence, {&payload, 1}) == ChannelStatus::kOk) return true;
  const MutexLock lock(mutex_);
  return Fail("the server ended the session" + (goodbye_.empty() ? "" : ": " + goodbye_));
}

// What has to be known of a command that is sent.
void Player::Look(uint16_t number, Bytes body) {
  const auto command = static_cast<Command>(number);
  const bool submits =
      command == Command::kQueueSubmit || command == Command::kQueueSubmit2 || command == Command::kQueueBindSparse;
  if (!submits && command != Command::kCreateBuffer && command != Command::kFreeMemory) return;
  const char* error = nullptr;
  const void* args = DecodeRequest(number, body, &arena_, &error);
  if (args == nullptr) return;
  if (submits) {  // all begin with the queue
    ++submitted_[reinterpret_cast<uintptr_t>(*static_cast<const VkQueue*>(args))];
  } else if (command == Command::kCreateBuffer) {
    const auto& create = *static_cast<const wire::CreateBufferArgs*>(args);
    addresses_.NoteBuffer(create.pBuffer_ids[0], create.pCreateInfo->size);
  } else {
    const ObjectId memory = static_cast<const wire::FreeMemoryArgs*>(args)->memory_id;
    changed_.erase(memory);
    const MutexLock lock(mutex_);
    changed_here_.erase(memory);
    std::erase_if(pictures_, [memory](const Picture& picture) { return picture.frame.memory == memory; });
    memory_.erase(memory);
  }
}

// What the program wrote into mapped memory. Where that holds addresses which have moved, a record that puts those of now there
// follows: a run has only the bytes that changed, the copy has whole words.
void Player::Written(Bytes body, wire::ByteBuffer* out) {
  if (body.size() < sizeof(wire::MemoryRuns)) return;
  const auto runs = wire::Load<wire::MemoryRuns>(body.data());
  Bytes rest = body.subspan(sizeof(runs));
  wire::RunWriter moved(static_cast<uint16_t>(wire::Control::kMemoryWrite));
  if (out != nullptr) moved.Begin(runs.memory);
  std::vector<uint8_t> words;
  const MutexLock lock(mutex_);
  Copies& copies = memory_[runs.memory];
  wire::Run run;
  for (uint32_t i = 0; i < runs.count && wire::NextRun(&rest, &run); ++i) {
    wire::ForEachPiece(run, [&](uint64_t offset, Bytes bytes) {
      copies.recorded.Write(offset, bytes);
      copies.replayed.Write(offset, bytes);
    });
    if (out == nullptr) continue;
    const uint64_t begin = run.offset / kWord * kWord;
    words.resize((run.offset + run.extent + kWord - 1) / kWord * kWord - begin);
    copies.recorded.Read(begin, words);
    addresses_.ForEachIn(words, kWord, [&](size_t at, uint64_t now) {
      moved.Add(begin + at, {reinterpret_cast<const uint8_t*>(&now), sizeof(now)});
    });
  }
  if (out == nullptr || moved.empty()) return;
  const Bytes record = moved.Finish();
  out->Append(record.data(), record.size());
}

void Player::Presented(const wire::PresentedFrame& frame) {
  ++result_->frames;
  if (!options_.compare || frame.memory == kNullObject || frame.offset > MemoryCopy::kMaxOffset) return;
  const MutexLock lock(mutex_);
  Picture picture{result_->frames, frame, {}, {}};
  const uint64_t size = kBytesPerPixel * frame.width * frame.height;
  if (recorded_.Has(frame.queue, frame.serial))
    picture.recorded = memory_[frame.memory].recorded.Hash(frame.offset, size);
  if (reached_.Has(frame.queue, frame.serial))
    picture.replayed = memory_[frame.memory].replayed.Hash(frame.offset, size);
  pictures_.push_back(picture);
  ComparePictures();
}

// --- receiving -----------------------------------------------------------------------------------------------------------

void Player::Receive() {
  Message message;
  for (;;) {
    const ChannelStatus status = channel_->Receive(&message, std::chrono::milliseconds(-1));
    if (status == ChannelStatus::kTimeout) continue;
    const MutexLock lock(mutex_);
    ++activity_;
    if (status != ChannelStatus::kOk) {
      ended_ = true;
      came_.NotifyAll();
      return;
    }
    if (message.kind == MessageKind::kReply) {
      replies_[message.sequence] = std::move(message.payload);
    } else if (message.kind == MessageKind::kEvent) {
      Events(message.payload);
    } else if (message.kind == MessageKind::kGoodbye) {
      goodbye_.assign(message.payload.begin(), message.payload.end());
    }
    came_.NotifyAll();
  }
}

void Player::Events(Bytes records) {
  ForEachRecord(records, 0, [&](const auto& header, Bytes body, Bytes, uint64_t) VESPER_NOT_ANALYSED {
    const auto kind = static_cast<wire::EventKind>(header.command);
    if (kind == wire::EventKind::kCompleted && body.size() >= sizeof(wire::Completed)) {
      const auto completed = wire::Load<wire::Completed>(body.data());
      reached_.Complete(completed.queue, completed.serial);
      for (Picture& picture : pictures_) {
        const wire::PresentedFrame& frame = picture.frame;
        if (picture.replayed || !reached_.Has(frame.queue, frame.serial)) continue;
        picture.replayed =
            memory_[frame.memory].replayed.Hash(frame.offset, kBytesPerPixel * frame.width * frame.height);
      }
    } else if (kind == wire::EventKind::kMemoryChanged && body.size() >= sizeof(wire::MemoryRuns)) {
      const auto runs = wire::Load<wire::MemoryRuns>(body.data());
      Bytes rest = body.subspan(sizeof(runs));
      changed_here_.insert(runs.memory);
      wire::Run run;
      for (uint32_t i = 0; i < runs.count && wire::NextRun(&rest, &run); ++i) {
        MemoryCopy& copy = memory_[runs.memory].replayed;
        wire::ForEachPiece(run, [&](uint64_t offset, Bytes bytes) { copy.Write(offset, bytes); });
      }
    } else if (kind == wire::EventKind::kProgress && body.size() >= sizeof(wire::Progress)) {
      reached_.marks = std::max(reached_.marks, wire::Load<wire::Progress>(body.data()).marks);
    }
  });
}

// --- both ----------------------------------------------------------------------------------------------------------------

bool Player::HasAll() {
  if (reached_.marks < recorded_.marks) return false;
  for (const Expected& each : expected_) {
    if (replies_.find(each.sequence) == replies_.end()) return false;
  }
  return std::all_of(recorded_.completed.begin(), recorded_.completed.end(),
                     [this](const auto& queue) VESPER_NOT_ANALYSED { return reached_.Has(queue.first, queue.second); });
}

// What is waited for, as a sentence.
std::string Player::Missing() {
  for (const Expected& each : expected_) {
    if (replies_.find(each.sequence) == replies_.end())
      return "no answer to " + dialect_->Name(asked_[each.sequence].command);
  }
  for (const auto& [queue, serial] : recorded_.completed) {
    if (!reached_.Has(queue, serial)) {
      return "a queue has completed " + std::to_string(reached_.completed[queue]) + " of " + std::to_string(serial) +
             " submits";
    }
  }
  return "marks of the server are missing";
}

// Until everything has come that had come to the recorded client by now.
bool Player::Await() {
  const MutexLock lock(mutex_);
  const std::chrono::milliseconds patience(options_.patience_ms);
  while (!HasAll()) {
    if (ended_) {
      return Fail("the server ended the session" + (goodbye_.empty() ? "" : " (" + goodbye_ + ")") + ": " + Missing());
    }
    const uint64_t before = activity_;
    if (!came_.WaitUntil(mutex_, Clock::now() + patience) && activity_ == before) {
      return Fail(Missing() + ", and nothing has come for " + std::to_string(options_.patience_ms / 1000) + " s");
    }
  }
  TakeReplies();
  ComparePictures();
  return true;
}

void Player::TakeReplies() {
  for (const Expected& each : expected_) {
    const auto found = replies_.find(each.sequence);
    TakeReply(each, found->second);
    replies_.erase(found);
    asked_.erase(each.sequence);
  }
  expected_.clear();
}

void Player::TakeReply(const Expected& expected, Bytes now) {
  ++result_->replies;
  const auto& asked = asked_[expected.sequence];
  constexpr size_t kHeader = sizeof(wire::ReplyHeader);
  if (expected.payload.size() < kHeader || now.size() < kHeader) return;
  const auto kind = [](Bytes payload) { return wire::Load<wire::ReplyHeader>(payload.data()).kind; };
  if (kind(expected.payload) != kind(now)) {
    Differ(dialect_->Name(asked.command) +
           (kind(now) == wire::ReplyKind::kAnswer ? " is executed" : " is not executed") + " now, unlike then");
  }
  if (std::equal(now.begin(), now.end(), expected.payload.begin(), expected.payload.end())) return;
  ++result_->other_replies[dialect_->Name(asked.command)];
  if (asked.object == kNullObject || now.size() < kHeader + kWord || expected.payload.size() < kHeader + kWord) return;
  addresses_.Learn(asked.object, wire::Load<uint64_t>(expected.payload.data() + kHeader),
                   wire::Load<uint64_t>(now.data() + kHeader));
}

void Player::CompareMemory() {
  if (options_.compare) {
    const MutexLock lock(mutex_);
    changed_.merge(changed_here_);
    changed_here_.clear();
    for (const ObjectId id : changed_) {
      Copies& copies = memory_[id];
      ++result_->states;
      if (copies.recorded.Hash() == copies.replayed.Hash()) continue;
      ++result_->different_states;
      const MemoryCopy::Difference where = copies.recorded.Compare(copies.replayed);
      Differ("memory " + std::to_string(id & 0xffffffff) + " holds other bytes after " +
             std::to_string(result_->commands) + " commands, in frame " + std::to_string(result_->frames + 1) + ": " +
             std::to_string(where.count) + " from " + std::to_string(where.first) + " to " +
             std::to_string(where.last));
    }
  }
  changed_.clear();
}

void Player::ComparePictures() {
  std::erase_if(pictures_, [this](const Picture& picture) {
    if (!picture.recorded || !picture.replayed) return false;
    ++result_->pictures;
    if (*picture.recorded == *picture.replayed) return true;
    ++result_->different_pictures;
    Differ("the picture of frame " + std::to_string(picture.number) + " is another one");
    return true;
  });
}

}  // namespace

ReplayResult Replay(const ReplayOptions& options) {
  ReplayResult result;
  Player(options, &result).Play();
  return result;
}

}  // namespace vesper::tools::recording
