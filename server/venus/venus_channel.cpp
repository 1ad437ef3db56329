#include "server/venus/venus_channel.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "generated/venus/structs.h"
#include "runtime/handshake.h"
#include "runtime/wire/control.h"
#include "runtime/wire/record.h"
#include "server/base/limits.h"
#include "server/base/log.h"

namespace vesper::venus {

namespace limits = server::limits;
using server::Log;
using server::LogLevel;

VenusChannel::VenusChannel(int socket, Options options) : VenusChannel(socket, nullptr, std::move(options)) {}

VenusChannel::VenusChannel(server::AgentPort* agent, Options options)
    : VenusChannel(agent->TakeStream(), agent, std::move(options)) {}

VenusChannel::VenusChannel(int socket, server::AgentPort* agent, Options options)
    : options_(std::move(options)),
      agent_(agent),
      socket_(socket, agent),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      resources_(agent),
      translator_(options_.objects, &resources_),
      from_socket_(options_.command_bytes),
      busy_(Clock::now()) {
  // The session's thread: else each pause is 50 us longer than it asks for, and a wait of the driver's then 160 us.
  prctl(PR_SET_TIMERSLACK, std::chrono::nanoseconds(limits::kVenusSlack).count());
  // Nothing that the driver does may keep a ring from being said to be alive.
  alive_ = std::thread([this] {
    std::unique_lock lock(alive_mutex_);
    while (!alive_changed_.wait_for(lock, limits::kVenusAlive, [this] { return ending_; })) {
      for (const auto& stream : rings_) stream->ring->SetStatus(kRingAlive);
    }
  });
}

VenusChannel::~VenusChannel() {
  {
    const std::lock_guard lock(alive_mutex_);
    ending_ = true;
  }
  alive_changed_.notify_all();
  alive_.join();
  close(wake_);
}

std::string VenusChannel::error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

void VenusChannel::Close() {
  closed_ = true;
  socket_.Shutdown();
  Wake();
}

void VenusChannel::Wake() const { eventfd_write(wake_, 1); }

// --- what the session says ---------------------------------------------------------------------------------------------

ChannelStatus VenusChannel::Send(MessageKind kind, uint64_t sequence, std::span<const std::span<const uint8_t>> parts) {
  return SendWithDescriptors(kind, sequence, parts, {});
}

ChannelStatus VenusChannel::SendWithDescriptors(MessageKind kind, uint64_t sequence,
                                                std::span<const std::span<const uint8_t>> parts,
                                                std::span<const int> descriptors) {
  MemoryName memory;
  if (!descriptors.empty()) memory.file = Descriptor(fcntl(descriptors.front(), F_DUPFD_CLOEXEC, 0));
  return SendNamed(kind, sequence, parts, std::move(memory));
}

ChannelStatus VenusChannel::SendWithPlace(MessageKind kind, uint64_t sequence,
                                          std::span<const std::span<const uint8_t>> parts, MemoryPlace place) {
  return SendNamed(kind, sequence, parts, {{}, place});
}

void VenusChannel::Nudge() {
  if (agent_ != nullptr) agent_->Nudge();
}

ChannelStatus VenusChannel::SendNamed(MessageKind kind, uint64_t sequence,
                                      std::span<const std::span<const uint8_t>> parts, MemoryName memory) {
  if (closed_) return ChannelStatus::kClosed;
  if (kind != MessageKind::kReply && kind != MessageKind::kEvent) return ChannelStatus::kOk;
  std::vector<uint8_t> payload;
  for (const auto& part : parts) payload.insert(payload.end(), part.begin(), part.end());
  {
    const std::lock_guard lock(mutex_);
    if (kind == MessageKind::kReply) {
      TakeReply(sequence, payload, std::move(memory));
    } else {
      TakeEvents(payload);
    }
  }
  if (kind == MessageKind::kReply && asleep_) Wake();  // by an event nothing goes on
  return ChannelStatus::kOk;
}

void VenusChannel::TakeReply(uint64_t sequence, std::span<const uint8_t> payload, MemoryName memory) {
  const auto take = [&](Stream* stream) {
    if (stream->hold != Hold::kReply || stream->pending.sequence != sequence) return false;
    std::string error;
    if (!translator_.Finish(stream, payload, std::move(memory), &error)) {
      Fail(std::move(error));
      return true;
    }
    if (stream->hold == Hold::kNone) {
      if (options_.tap != nullptr && stream->pending.answers) {
        options_.tap(stream->pending.command->number, true, translator_.last_reply());
      }
      stream->NoteFinished();
      TellHead(stream);
    }
    return true;
  };
  if (take(&from_socket_)) return;
  for (const auto& stream : rings_) {
    if (take(stream.get())) return;
  }
}

// A lost device would leave the driver waiting for ever.
void VenusChannel::TakeEvents(std::span<const uint8_t> payload) {
  wire::RecordHeader header;
  std::span<const uint8_t> body;
  while (wire::NextRecord(&payload, &header, &body)) {
    if (header.command != static_cast<uint16_t>(wire::EventKind::kDeviceLost)) continue;
    const std::string_view why(reinterpret_cast<const char*>(body.data()), body.size());
    Log(LogLevel::kError, "the device is lost, and the driver is told that its rings have failed: {}",
        why.substr(std::min(why.size(), sizeof(wire::DeviceLost))));
    for (const auto& stream : rings_) stream->ring->SetStatus(kRingFatal);
  }
}

// --- what the session hears --------------------------------------------------------------------------------------------

bool VenusChannel::Fail(std::string what) {
  if (error_.empty()) error_ = std::move(what);
  for (const auto& stream : rings_) stream->ring->SetStatus(kRingFatal);
  return true;
}

void VenusChannel::TellHead(Stream* stream) {
  if (stream->ring != nullptr && stream->ring->head() != stream->finished) stream->ring->SetHead(stream->finished);
}

// Whatever the session was given before has been carried out, or waits with it in order.
void VenusChannel::TellHeads() {
  for (const auto& stream : rings_) TellHead(stream.get());
}

ChannelStatus VenusChannel::Receive(Message* message, std::chrono::milliseconds timeout) {
  const auto begin = Clock::now(), end = begin + timeout;
  if (std::exchange(gave_, false)) busy_ = begin;  // what it gave last has been carried out just now
  for (;;) {
    if (closed_) return ChannelStatus::kClosed;
    {
      const std::lock_guard lock(mutex_);
      TellHeads();
      const bool done = Look(message);
      if (!error_.empty()) return ChannelStatus::kMalformed;
      gave_ = done;
      if (done) return ChannelStatus::kOk;
      if (socket_.ended()) return ChannelStatus::kClosed;
    }
    if (timeout.count() == 0 || (timeout.count() > 0 && Clock::now() >= end)) return ChannelStatus::kTimeout;
    Pause(busy_);
  }
}

// The less has come lately, the longer nobody looks.
void VenusChannel::Pause(Clock::time_point since) {
  const auto idle = Clock::now() - since;
  if (idle < limits::kVenusSpin) {
    std::this_thread::yield();
  } else if (idle < limits::kVenusLook) {
    std::this_thread::sleep_for(limits::kVenusPause);
    look_at_socket_ = true;
  } else if (!looked_at_socket_) {
    look_at_socket_ = true;  // what has been received already would wake nobody
  } else {
    Sleep();
  }
}

// The peer notifies by the socket when it has put something into a ring that is idle.
void VenusChannel::Sleep() {
  bool waits = false;  // for the device
  bool listens = true;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& stream : rings_) {
      waits = waits || stream->hold == Hold::kRetry;
      stream->ring->SetStatus(kRingIdle);
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
    asleep_ = true;
    listens = from_socket_.hold == Hold::kNone;
    if (MayAdvance(from_socket_)) asleep_ = false;
    for (const auto& stream : rings_) {
      if (MayAdvance(*stream)) asleep_ = false;
    }
  }
  if (asleep_) {
    ++sleeps_;
    pollfd entries[] = {{socket_.fd(), POLLIN, 0}, {wake_, POLLIN, 0}};
    timespec time{0, std::chrono::nanoseconds(waits ? limits::kVenusRetry : limits::kVenusDoze).count()};
    if (!listens) entries[0].events = POLLRDHUP;
    if (ppoll(entries, 2, &time, nullptr) > 0 && entries[1].revents != 0) {
      eventfd_t ignored;
      eventfd_read(wake_, &ignored);
    }
    if (!listens && (entries[0].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0) socket_.NoteEnd();
  }
  asleep_ = false;
  const std::lock_guard lock(mutex_);
  look_at_socket_ = true;
  for (const auto& stream : rings_) stream->ring->ClearStatus(kRingIdle);
}

bool VenusChannel::Look(Message* message) {
  // Rings first: the socket costs a call of the kernel.
  batch_.clear();
  message->sequence = 0;
  for (size_t i = 0; i < rings_.size() && batch_.empty() && error_.empty(); ++i) {
    Stream* stream = rings_[(next_ring_ + i) % rings_.size()].get();
    Advance(stream, &batch_);
    if (batch_.empty()) continue;
    next_ring_ = (next_ring_ + i + 1) % rings_.size();
    if (stream->hold == Hold::kReply) message->sequence = stream->pending.sequence;
  }
  looked_at_socket_ =
      batch_.empty() && error_.empty() && (look_at_socket_ || ++socket_turns_ % limits::kVenusSocketTurns == 0);
  if (looked_at_socket_) {
    look_at_socket_ = false;
    if (ReadSocket(message)) return true;
    if (!batch_.empty() && from_socket_.hold == Hold::kReply) message->sequence = from_socket_.pending.sequence;
  }
  if (batch_.empty()) return false;
  message->kind = MessageKind::kBatch;
  message->payload.assign(batch_.data(), batch_.data() + batch_.size());
  return true;
}

// --- the socket --------------------------------------------------------------------------------------------------------

bool VenusChannel::ReadSocket(Message* message) {
  VtestMessage received;
  while (error_.empty()) {
    Advance(&from_socket_, &batch_);
    if (!batch_.empty() || from_socket_.hold != Hold::kNone) return false;
    if (!socket_.Next(&received)) break;
    busy_ = Clock::now();
    if (Handle(received, message)) return true;
  }
  if (!socket_.malformed().empty()) Fail(socket_.malformed());
  return false;
}

// True when `out` is a message for the session.
bool VenusChannel::Handle(const VtestMessage& message, Message* out) {
  switch (message.command) {
    case Vtest::kCreateRenderer: {
      if (greeted_) return Fail("a second renderer on one connection"), false;
      greeted_ = true;
      Hello hello;
      hello.fingerprint = kRegistryFingerprint;
      hello.page_size = static_cast<uint32_t>(sysconf(_SC_PAGESIZE));
      hello.shares_memory = true;
      const auto* text = reinterpret_cast<const char*>(message.body.data());
      hello.program.assign(text, strnlen(text, std::min(message.body.size(), limits::kVenusNameBytes)));
      hello.program += " (Mesa Venus)";
      out->kind = MessageKind::kHello;
      out->payload = EncodeHello(hello);
      return true;
    }
    case Vtest::kCreateBlob:
      return CreateBlob(message);
    case Vtest::kUnref:
      resources_.Remove(message.word(0));
      return false;
    case Vtest::kSubmit:
      return Submit(message);
    default:
      return Describe(message);
  }
}

// What asks and is answered at once.
bool VenusChannel::Describe(const VtestMessage& message) {
  std::vector<uint32_t> answer;
  const auto twin = [&](uint64_t value) {
    answer.push_back(static_cast<uint32_t>(value));
    answer.push_back(static_cast<uint32_t>(value >> 32));
  };
  Descriptor event;
  switch (message.command) {
    case Vtest::kPing:
    case Vtest::kContextInit:
      break;
    case Vtest::kBusyWait:
      answer = {0};
      break;
    case Vtest::kProtocolVersion:
      answer = {std::min(message.word(0), 3u)};
      break;
    case Vtest::kGetParam:  // the only one that there is: how many timelines
      answer = {uint32_t{message.word(0) == 1}, message.word(0) == 1 ? 64u : 0u};
      break;
    case Vtest::kGetCapset: {
      constexpr uint32_t kVersion = VK_MAKE_API_VERSION(0, 1, 3, VK_HEADER_VERSION);
      answer = {1, 1, kVersion,
                1, 2, 1};  // it is there; formats of the wire, registry, serialisation, protocol; blob id 0
      answer.insert(answer.end(), std::begin(kExtensionMask), std::end(kExtensionMask));
      answer.insert(answer.end(), {1, 1, 0});  // waits for syncs, several timelines, no memory of a guest's GPU
      break;
    }
    case Vtest::kSyncCreate:
      answer = {syncs_.Create(message.twin(0))};
      break;
    case Vtest::kSyncUnref:
      syncs_.Remove(message.word(0));
      return false;
    case Vtest::kSyncRead:
      twin(syncs_.Read(message.word(0)));
      break;
    case Vtest::kSyncWrite:
      syncs_.Write(message.word(0), message.twin(1));
      return false;
    case Vtest::kSyncWait: {
      std::vector<std::pair<uint32_t, uint64_t>> values;
      for (size_t i = 2; i + 3 <= message.body.size() / sizeof(uint32_t); i += 3) {
        values.emplace_back(message.word(i), message.twin(i + 1));
      }
      event = syncs_.Wait((message.word(0) & 1) != 0, std::move(values));
      if (!event.valid()) return Fail("no descriptor is left for a wait"), false;
      break;
    }
    default:
      Fail(fmt::format("vtest command {}", static_cast<uint32_t>(message.command)));
      return false;
  }
  if (message.command == Vtest::kContextInit) return false;
  socket_.Answer(message.command, answer);
  if (event.valid()) socket_.SendEvent(std::move(event));
  return false;
}

bool VenusChannel::CreateBlob(const VtestMessage& message) {
  const uint64_t size = message.twin(2);
  const uint64_t memory = message.twin(4);
  uint32_t number = 0;
  MemoryName name;
  std::string error;
  const bool made = memory == 0 ? resources_.Create(size, &number, &name, &error)
                                : resources_.CreateOfMemory(memory, size, &number, &name, &error);
  if (!made) return Fail(std::move(error)), false;
  socket_.Answer(message.command, {{number}});
  socket_.SendFile(name);
  return false;
}

bool VenusChannel::Submit(const VtestMessage& message) {
  const size_t words = message.body.size() / sizeof(uint32_t);
  const uint32_t count = message.word(0);
  constexpr size_t kEntry = 6;
  if (count > (words - std::min<size_t>(words, 1)) / kEntry) return Fail("a submit is longer than its message"), false;
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < count; ++i) {
    const size_t entry = 1 + kEntry * i;
    const size_t at = message.word(entry + 1), size = message.word(entry + 2);
    const size_t sync = message.word(entry + 3), syncs = message.word(entry + 4);
    if (at > words || size > words - at || sync > words || syncs > (words - sync) / 3) {
      return Fail("a submit names bytes beyond its message"), false;
    }
    const uint8_t* begin = message.body.data() + at * sizeof(uint32_t);
    bytes.insert(bytes.end(), begin, begin + size * sizeof(uint32_t));
    for (size_t j = 0; j < syncs; ++j) syncs_.Write(message.word(sync + 3 * j), message.twin(sync + 3 * j + 1));
  }
  if (!bytes.empty()) from_socket_.pieces.push_back({std::move(bytes), 0});
  return false;
}

}  // namespace vesper::venus
