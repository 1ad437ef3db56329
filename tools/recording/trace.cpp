#include "tools/recording/trace.h"

#include <fnmatch.h>

#include <cinttypes>
#include <map>
#include <unordered_map>
#include <utility>

#include "generated/trace/printers.h"
#include "runtime/wire/control.h"
#include "runtime/wire/decoder.h"
#include "runtime/wire/limits.h"
#include "tools/recording/dialect.h"
#include "tools/recording/recording.h"

namespace vesper::tools::recording {
namespace {

using Bytes = std::span<const uint8_t>;

double Milliseconds(uint64_t ns) { return static_cast<double>(ns) * 1e-6; }

// The queue of a submit, or null for other commands. All three begin with it.
ObjectId SubmitsTo(uint16_t number, Bytes body, Arena* arena) {
  const auto command = static_cast<Command>(number);
  if (command != Command::kQueueSubmit && command != Command::kQueueSubmit2 && command != Command::kQueueBindSparse) {
    return kNullObject;
  }
  const char* error = nullptr;
  const void* args = DecodeRequest(number, body, arena, &error);
  return args == nullptr ? kNullObject : reinterpret_cast<uintptr_t>(*static_cast<const VkQueue*>(args));
}

uint64_t ChangedBytes(Bytes body) {
  if (body.size() < sizeof(wire::MemoryRuns)) return 0;
  return body.size() - sizeof(wire::MemoryRuns);  // with offsets and masks
}

// --- lines ---------------------------------------------------------------------------------------------------------------

class Lines {
 public:
  Lines(const Greeting& greeting, std::string match, std::FILE* out)
      : dialect_(greeting.hello.commands), match_(std::move(match)), out_(out) {}

  void Show(const Entry& entry) {
    now_ = entry.ns;
    if (entry.kind == MessageKind::kBatch) {
      ForEachRecord(entry.payload, entry.sequence, [this](const auto& header, Bytes body, Bytes, uint64_t sequence) {
        if (sequence != 0) asked_[sequence] = header.command;
        Request(header.command, body, sequence);
      });
    } else if (entry.kind == MessageKind::kReply) {
      Reply(entry);
    } else if (entry.kind == MessageKind::kEvent) {
      ForEachRecord(entry.payload, 0, [this](const auto& header, Bytes body, Bytes, uint64_t) {
        Event(static_cast<wire::EventKind>(header.command), body);
      });
    } else if (match_.empty()) {
      Line(entry.sent ? "->" : "<-", "goodbye " + std::string(entry.payload.begin(), entry.payload.end()));
    }
  }

 private:
  bool Wanted(const std::string& name) const { return match_.empty() || fnmatch(match_.c_str(), name.c_str(), 0) == 0; }
  void Line(const char* direction, const std::string& text) {
    std::fprintf(out_, "%12.3f %s %s\n", Milliseconds(now_), direction, text.c_str());
  }

  void Request(uint16_t recorded, Bytes body, uint64_t sequence) {
    std::string text = dialect_.Name(recorded);
    if (!Wanted(text)) return;
    const uint16_t number = dialect_.Number(recorded);
    if (number == Dialect::kUnknown || wire::kPrinters[number] == nullptr) {
      text += Control(static_cast<wire::Control>(recorded), body);
    } else {
      const char* error = nullptr;
      const void* args = DecodeRequest(number, body, &arena_, &error);
      text += '(';
      if (args == nullptr) {
        text += error;
      } else {
        Printer printer(&text);
        wire::kPrinters[number](printer, args);
      }
      text += ')';
    }
    if (sequence != 0) text += " #" + std::to_string(sequence);
    Line("->", text);
  }

  static std::string Control(wire::Control control, Bytes body) {
    char text[160];
    if (control == wire::Control::kFrame && body.size() >= sizeof(wire::PresentedFrame)) {
      const auto frame = wire::Load<wire::PresentedFrame>(body.data());
      std::snprintf(text, sizeof(text), " of %ux%u", frame.width, frame.height);
      return text;
    }
    if (control == wire::Control::kMemoryWrite && body.size() >= sizeof(wire::MemoryRuns)) {
      const auto runs = wire::Load<wire::MemoryRuns>(body.data());
      std::snprintf(text, sizeof(text), " DeviceMemory %" PRIu64 ", %u runs, %zu bytes", runs.memory & 0xffffffff,
                    runs.count, body.size());
      return text;
    }
    if (body.size() >= sizeof(wire::MemoryRange)) {
      const auto range = wire::Load<wire::MemoryRange>(body.data());
      std::snprintf(text, sizeof(text), " DeviceMemory %" PRIu64 ", %" PRIu64 " bytes at %" PRIu64,
                    range.memory & 0xffffffff, range.size, range.offset);
      return text;
    }
    return {};
  }

  void Reply(const Entry& entry) {
    const auto asked = asked_.find(entry.sequence);
    if (asked == asked_.end() || entry.payload.size() < sizeof(wire::ReplyHeader)) return;
    const std::string name = dialect_.Name(asked->second);
    const uint16_t number = dialect_.Number(asked->second);
    asked_.erase(asked);
    if (!Wanted(name)) return;
    std::string text = name + " #" + std::to_string(entry.sequence);
    const auto header = wire::Load<wire::ReplyHeader>(entry.payload.data());
    const Bytes body = Bytes(entry.payload).subspan(sizeof(header));
    Printer printer(&text);
    if (header.kind != wire::ReplyKind::kAnswer) {
      text += " was not executed";
    } else if (number != Dialect::kUnknown && wire::kAnswersResult[number] && body.size() >= sizeof(int32_t)) {
      text += " = ";
      printer.Named(nullptr, wire::Load<int32_t>(body.data()), wire::ResultNames(), false);
    }
    Line("<-", text + ", " + std::to_string(body.size()) + " bytes");
  }

  void Event(wire::EventKind kind, Bytes body) {
    if (!match_.empty()) return;
    char text[160];
    if (kind == wire::EventKind::kCompleted && body.size() >= sizeof(wire::Completed)) {
      const auto completed = wire::Load<wire::Completed>(body.data());
      std::snprintf(text, sizeof(text), "Queue %" PRIu64 " completed %" PRIu64, completed.queue & 0xffffffff,
                    completed.serial);
    } else if (kind == wire::EventKind::kMemoryChanged && body.size() >= sizeof(wire::MemoryRuns)) {
      const auto runs = wire::Load<wire::MemoryRuns>(body.data());
      std::snprintf(text, sizeof(text), "memory changed DeviceMemory %" PRIu64 ", %u runs, %zu bytes",
                    runs.memory & 0xffffffff, runs.count, body.size());
    } else if (kind == wire::EventKind::kDeviceLost) {
      std::snprintf(text, sizeof(text), "device lost");
    } else if (kind == wire::EventKind::kDebugMessage) {
      std::snprintf(text, sizeof(text), "message for a debug callback, %zu bytes", body.size());
    } else if (kind == wire::EventKind::kMade && body.size() >= sizeof(wire::Made)) {
      const auto made = wire::Load<wire::Made>(body.data());
      std::snprintf(text, sizeof(text), "made object %" PRIu64 ": %d", made.object & 0xffffffff, made.result);
    } else {
      return;  // progress and signs of life
    }
    Line("<-", text);
  }

  const Dialect dialect_;
  const std::string match_;
  std::FILE* const out_;
  Arena arena_{wire::kMaxArenaBytes};
  std::unordered_map<uint64_t, uint16_t> asked_;
  uint64_t now_ = 0;
};

// --- trace events --------------------------------------------------------------------------------------------------------

class TraceEvents {
 public:
  TraceEvents(const Greeting& greeting, std::FILE* out) : dialect_(greeting.hello.commands), out_(out) {
    std::fprintf(out_,
                 "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":1,"
                 "\"args\":{\"name\":\"");
    for (const char c : greeting.hello.program) {
      if (static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\') std::fputc(c, out_);
    }
    std::fprintf(out_, "\"}}");
    Thread(kAnswers, "waits for answers");
    Thread(kFrames, "frames");
  }

  void Add(const Entry& entry) {
    now_ = entry.ns;
    if (entry.kind == MessageKind::kBatch) {
      ForEachRecord(entry.payload, entry.sequence, [this](const auto& header, Bytes body, Bytes, uint64_t sequence) {
        Request(header.command, body, sequence);
      });
      Counters();
    } else if (entry.kind == MessageKind::kReply) {
      const auto asked = asked_.find(entry.sequence);
      if (asked == asked_.end()) return;
      Span("e", kAnswers, "answer", entry.sequence, dialect_.Name(asked->second));
      asked_.erase(asked);
    } else if (entry.kind == MessageKind::kEvent) {
      ForEachRecord(entry.payload, 0, [this](const auto& header, Bytes body, Bytes, uint64_t) {
        Event(static_cast<wire::EventKind>(header.command), body);
      });
      Counters();
    }
  }
  void End() { std::fprintf(out_, "\n]}\n"); }

 private:
  static constexpr int kAnswers = 1, kFrames = 2, kFirstQueue = 10;

  double Now() const { return static_cast<double>(now_) * 1e-3; }
  void Thread(int thread, const std::string& name) {
    std::fprintf(out_, ",\n{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":1,\"tid\":%d,\"args\":{\"name\":\"%s\"}}",
                 thread, name.c_str());
  }
  void Span(const char* phase, int thread, const char* category, uint64_t id, const std::string& name) {
    std::fprintf(
        out_, ",\n{\"ph\":\"%s\",\"cat\":\"%s\",\"id\":%" PRIu64 ",\"pid\":1,\"tid\":%d,\"ts\":%.3f,\"name\":\"%s\"}",
        phase, category, id, thread, Now(), name.c_str());
  }

  void Request(uint16_t recorded, Bytes body, uint64_t sequence) {
    ++commands_;
    if (sequence != 0) {
      asked_[sequence] = recorded;
      Span("b", kAnswers, "answer", sequence, dialect_.Name(recorded));
    }
    if (recorded == static_cast<uint16_t>(wire::Control::kMemoryWrite)) written_ += ChangedBytes(body);
    if (recorded == static_cast<uint16_t>(wire::Control::kFrame)) {
      std::fprintf(out_,
                   ",\n{\"ph\":\"i\",\"s\":\"p\",\"pid\":1,\"tid\":%d,\"ts\":%.3f,\"name\":\"frame %" PRIu64 "\"}",
                   kFrames, Now(), ++frames_);
    }
    const uint16_t number = dialect_.Number(recorded);
    const ObjectId id = number == Dialect::kUnknown ? kNullObject : SubmitsTo(number, body, &arena_);
    if (id == kNullObject) return;
    const auto [found, added] = queues_.try_emplace(id);
    Queue& queue = found->second;
    if (added) {
      queue.thread = kFirstQueue + static_cast<int>(queues_.size());
      Thread(queue.thread, "queue " + std::to_string(id & 0xffffffff));
    }
    ++queue.submitted;
    Span("b", queue.thread, queue.Category().c_str(), queue.submitted, "submit " + std::to_string(queue.submitted));
  }

  void Event(wire::EventKind kind, Bytes body) {
    if (kind == wire::EventKind::kMemoryChanged) changed_ += ChangedBytes(body);
    if (kind != wire::EventKind::kCompleted || body.size() < sizeof(wire::Completed)) return;
    const auto completed = wire::Load<wire::Completed>(body.data());
    const auto found = queues_.find(completed.queue);
    if (found == queues_.end()) return;
    Queue& queue = found->second;
    while (queue.completed < completed.serial && queue.completed < queue.submitted) {
      ++queue.completed;
      Span("e", queue.thread, queue.Category().c_str(), queue.completed, "submit " + std::to_string(queue.completed));
    }
  }

  void Counters() {
    std::fprintf(out_,
                 ",\n{\"ph\":\"C\",\"pid\":1,\"ts\":%.3f,\"name\":\"memory\",\"args\":{\"written\":%" PRIu64
                 ",\"read back\":%" PRIu64 "}}",
                 Now(), written_, changed_);
    std::fprintf(out_, ",\n{\"ph\":\"C\",\"pid\":1,\"ts\":%.3f,\"name\":\"commands\",\"args\":{\"sent\":%" PRIu64 "}}",
                 Now(), commands_);
  }

  struct Queue {
    int thread = 0;
    uint64_t submitted = 0, completed = 0;
    std::string Category() const { return "queue" + std::to_string(thread); }
  };
  const Dialect dialect_;
  std::FILE* const out_;
  Arena arena_{wire::kMaxArenaBytes};
  std::unordered_map<uint64_t, uint16_t> asked_;
  std::map<ObjectId, Queue> queues_;
  uint64_t now_ = 0, frames_ = 0, commands_ = 0, written_ = 0, changed_ = 0;
};

template <typename Show>
bool ForEachEntry(Reader* reader, Show show, std::string* error) {
  Entry entry;
  while (reader->Next(&entry)) show(entry);
  if (!reader->flaw().empty()) *error = "the recording " + reader->flaw();
  return reader->flaw().empty();
}

}  // namespace

bool PrintCalls(const std::string& file, const std::string& match, std::FILE* out, std::string* error) {
  const std::unique_ptr<Reader> reader = Reader::Open(file, error);
  if (reader == nullptr) return false;
  Lines lines(reader->greeting(), match, out);
  return ForEachEntry(
      reader.get(), [&](const Entry& entry) { lines.Show(entry); }, error);
}

bool WriteTraceEvents(const std::string& file, std::FILE* out, std::string* error) {
  const std::unique_ptr<Reader> reader = Reader::Open(file, error);
  if (reader == nullptr) return false;
  TraceEvents events(reader->greeting(), out);
  const bool whole = ForEachEntry(
      reader.get(), [&](const Entry& entry) { events.Add(entry); }, error);
  events.End();
  return whole;
}

}  // namespace vesper::tools::recording
