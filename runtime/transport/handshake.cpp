// runtime/handshake.h in Cap'n Proto: the payload of a Hello or Welcome is the whole serialised
// Message.
#include "runtime/handshake.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <exception>
#include <string_view>

#include "runtime/environment.h"
#include "runtime/transport/deadline.h"
#include "runtime/transport/frame.h"
#include "runtime/transport/vesper.capnp.h"
#include "runtime/wire/decoder.h"

namespace vesper {
namespace {

namespace schema = transport::schema;
using std::chrono::milliseconds;

constexpr milliseconds kAnswerTime(5000);  // for the first answer, so that other drivers still get their turn
constexpr milliseconds kHelloTime(5000);   // for a client that has connected
constexpr unsigned kMaxNames = 1u << 16;
constexpr size_t kMaxNameBytes = 256;
constexpr size_t kMaxReasonBytes = 1024;

// Text from the peer, made fit for a log.
std::string Printable(std::string_view text, size_t limit) {
  std::string result(text.substr(0, limit));
  for (char& c : result) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return result;
}

std::string Printable(const std::vector<uint8_t>& bytes) {
  return Printable({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, kMaxReasonBytes);
}

std::string Versions(uint32_t client, uint32_t server) {
  return "the client speaks version " + std::to_string(client) + " of the Vesper protocol, the server version " +
         std::to_string(server) + ": install the same release of Vesper on both sides";
}

void EncodeNames(const std::vector<std::string>& names, capnp::List<capnp::Text>::Builder out) {
  for (unsigned i = 0; i < out.size(); ++i) {
    out.set(i, capnp::Text::Reader(names[i].c_str(), names[i].size()));
  }
}

bool DecodeNames(capnp::List<capnp::Text>::Reader names, std::vector<std::string>* out) {
  if (names.size() > kMaxNames) return false;
  out->clear();
  for (const auto name : names) {
    if (name.size() > kMaxNameBytes) return false;
    out->emplace_back(name.cStr(), name.size());
  }
  return true;
}

unsigned CountOf(const std::vector<std::string>& names) { return static_cast<unsigned>(names.size()); }

ChannelStatus SendMessage(Channel& channel, MessageKind kind, capnp::MessageBuilder& builder) {
  const auto words = capnp::messageToFlatArray(builder);
  const auto bytes = words.asBytes();
  const std::span<const uint8_t> part(bytes.begin(), bytes.size());
  return channel.Send(kind, 0, {&part, 1});
}

capnp::Data::Reader DataOf(const ResumeSecret& secret) { return {secret.data(), secret.size()}; }

// One of another length stays zeros, which no session has.
void DecodeSecret(capnp::Data::Reader data, ResumeSecret* secret) {
  secret->fill(0);
  if (data.size() == secret->size()) std::copy(data.begin(), data.end(), secret->begin());
}

void BuildHello(const Hello& hello, capnp::MessageBuilder* builder) {
  auto out = builder->initRoot<schema::Message>().initHello();
  out.setProtocol(hello.protocol);
  out.setPageSize(hello.page_size);
  out.setFingerprint(hello.fingerprint);
  out.setPid(hello.pid);
  out.setProgram(hello.program.c_str());
  out.setSharesMemory(hello.shares_memory);
  out.setRing(hello.ring);
  out.setCompression(static_cast<uint8_t>(hello.compression));
  out.setValidation(hello.validation);
  out.setResumes(hello.resumes_for.count() > 0);
  if (hello.resume.session != 0) {
    out.setResume(hello.resume.session);
    out.setSecret(DataOf(hello.resume.secret));
    out.setReceived(hello.resume.received);
  }
  EncodeNames(hello.commands, out.initCommands(CountOf(hello.commands)));
  EncodeNames(hello.handle_types, out.initHandleTypes(CountOf(hello.handle_types)));
}

ChannelStatus SendHello(Channel& channel, const Hello& hello) {
  capnp::MallocMessageBuilder builder;
  BuildHello(hello, &builder);
  return SendMessage(channel, MessageKind::kHello, builder);
}

// A reader over a received payload, which the channel has found to be one whole frame. Reading may
// throw kj::Exception.
class PayloadReader {
 public:
  explicit PayloadReader(const std::vector<uint8_t>& payload)
      : reader_({reinterpret_cast<const capnp::word*>(payload.data()), payload.size() / sizeof(capnp::word)},
                Options(payload.size())) {}
  schema::Message::Reader root() { return reader_.getRoot<schema::Message>(); }

 private:
  static capnp::ReaderOptions Options(size_t bytes) {
    capnp::ReaderOptions options;
    options.traversalLimitInWords = bytes + 1024;
    options.nestingLimit = 8;
    return options;
  }
  capnp::FlatArrayMessageReader reader_;
};

bool DecodeHello(const std::vector<uint8_t>& payload, Hello* hello) {
  PayloadReader reader(payload);
  const auto in = reader.root().getHello();
  hello->protocol = in.getProtocol();
  hello->page_size = in.getPageSize();
  hello->fingerprint = in.getFingerprint();
  hello->pid = in.getPid();
  hello->shares_memory = in.getSharesMemory();
  hello->ring = in.getRing();
  const uint8_t compression = in.getCompression();
  hello->compression =
      compression > static_cast<uint8_t>(Compression::kOn) ? Compression::kAuto : static_cast<Compression>(compression);
  hello->validation = in.getValidation();
  hello->resumes_for = milliseconds(in.getResumes() ? 1 : 0);
  hello->resume.session = in.getResume();
  hello->resume.received = in.getReceived();
  DecodeSecret(in.getSecret(), &hello->resume.secret);
  hello->program = Printable({in.getProgram().cStr(), in.getProgram().size()}, kMaxNameBytes);
  return DecodeNames(in.getCommands(), &hello->commands) && DecodeNames(in.getHandleTypes(), &hello->handle_types);
}

bool DecodeWelcome(const std::vector<uint8_t>& payload, Welcome* welcome) {
  PayloadReader reader(payload);
  const auto in = reader.root().getWelcome();
  welcome->protocol = in.getProtocol();
  welcome->names_wanted = in.getNamesWanted();
  welcome->fingerprint = in.getFingerprint();
  welcome->max_objects = in.getMaxObjects();
  welcome->session = in.getSession();
  welcome->shares_memory = in.getSharesMemory();
  welcome->ring = in.getRing();
  welcome->compression = in.getCompression();
  welcome->answers_marks = in.getAnswersMarks();
  welcome->validation = in.getValidation();
  welcome->resume_for = milliseconds(in.getResumeFor());
  welcome->received = in.getReceived();
  DecodeSecret(in.getSecret(), &welcome->secret);
  return DecodeNames(in.getCommands(), &welcome->commands) && DecodeNames(in.getHandleTypes(), &welcome->handle_types);
}

std::string_view ChosenTransport() {
  const char* chosen = Setting("VESPER_TRANSPORT");
  return chosen == nullptr ? std::string_view() : std::string_view(chosen);
}

// Runs what uses Cap'n Proto; false with a sentence when it throws.
template <typename Function>
bool Guarded(std::string* error, const Function& function) {
  try {
    return function();
  } catch (const kj::Exception& exception) {
    *error = std::string("the handshake is no valid Cap'n Proto: ") + exception.getDescription().cStr();
  } catch (const std::exception& exception) {
    *error = std::string("the handshake failed: ") + exception.what();
  }
  return false;
}

// One message within `time`; an Interrupt() meant for somebody else does not end the wait.
ChannelStatus ReceiveWithin(Channel& channel, milliseconds time, Message* message) {
  const transport::Deadline deadline(time);
  for (;;) {
    const ChannelStatus status = channel.Receive(message, milliseconds(deadline.PollMilliseconds()));
    if (status != ChannelStatus::kTimeout || deadline.passed()) return status;
  }
}

std::string Explain(const Channel& channel, ChannelStatus status, const char* who, milliseconds time) {
  if (status == ChannelStatus::kTimeout) {
    return std::string(who) + " did not say anything within " + std::to_string(time.count()) + " ms";
  }
  const std::string error = channel.error();
  return error.empty() ? std::string("the connection to ") + who + " is closed" : error;
}

bool TakeAnswer(const Hello& hello, const Message& answer, Welcome* welcome, std::string* error) {
  switch (answer.kind) {
    case MessageKind::kRefused:
      *error = "the server refused: " + Printable(answer.payload);
      return false;
    case MessageKind::kGoodbye:
      *error = "the server said goodbye: " + Printable(answer.payload);
      return false;
    case MessageKind::kWelcome:
      break;
    default:
      *error = "the server answered something that is no part of a handshake";
      return false;
  }
  if (!DecodeWelcome(answer.payload, welcome)) {
    *error = "the server's Welcome has more or longer names than the limit";
    return false;
  }
  if (welcome->protocol != hello.protocol) {
    *error = Versions(hello.protocol, welcome->protocol);
    return false;
  }
  if (welcome->ring && !hello.ring) {
    *error = "the server announces a ring that nobody asked for";
    return false;
  }
  if (welcome->resume_for.count() != 0 && hello.resumes_for.count() == 0) {
    *error = "the server announces resuming that nobody asked for";
    return false;
  }
  if (welcome->compression && hello.compression == Compression::kOff) {
    *error = "the server announces compression that nobody asked for";
    return false;
  }
  return true;
}

bool TakeRing(Channel& channel, const Welcome& welcome, std::string* error) {
  if (!welcome.ring || welcome.names_wanted || channel.TakeRing()) return true;
  *error = channel.error();
  return false;
}

}  // namespace

bool Greet(Channel& channel, const Hello& hello, Welcome* welcome, std::string* error) {
  return Guarded(error, [&] {
    Message answer;
    const ChannelStatus sent = SendHello(channel, hello);
    if (sent == ChannelStatus::kMalformed) {
      *error = channel.error();
      return false;
    }
    // A server that refuses at once may have closed before our Hello: its answer says more than our
    // failure to send.
    ChannelStatus status;
    do {  // the limit is one of silence: who waits in a queue is told so again and again
      status = ReceiveWithin(channel, kAnswerTime, &answer);
    } while (status == ChannelStatus::kOk && answer.kind == MessageKind::kWaiting);
    if (status != ChannelStatus::kOk) {
      *error = Explain(channel, status, "the server", kAnswerTime);
      return false;
    }
    if (!TakeAnswer(hello, answer, welcome, error) || !TakeRing(channel, *welcome, error)) return false;
    if (welcome->compression && !welcome->names_wanted) channel.StartCompression(hello.compression);
    if (welcome->resume_for.count() != 0 && !welcome->names_wanted) {
      channel.StartResuming({welcome->session, welcome->secret, std::min(hello.resumes_for, welcome->resume_for)});
    }
    return true;
  });
}

namespace {

// Why the server does not go on with this Hello, or empty.
std::string CheckHello(const Message& message, Hello* hello) {
  if (message.kind != MessageKind::kHello) return "the client's first message is no Hello";
  if (!DecodeHello(message.payload, hello)) return "the client's Hello has more or longer names than the limit";
  if (hello->protocol != kProtocolVersion) return Versions(hello->protocol, kProtocolVersion);
  return {};
}

}  // namespace

Compression WantedCompression(const Channel& channel, std::string* unknown) {
  const char* setting = Setting("VESPER_COMPRESS");
  const std::string_view chosen = setting == nullptr ? std::string_view("auto") : std::string_view(setting);
  if (!channel.OffersCompression() || chosen == "off") return Compression::kOff;
  if (chosen == "on") return Compression::kOn;
  if (chosen != "auto") {
    *unknown = "VESPER_COMPRESS is \"" + Printable(chosen, kMaxNameBytes) + "\": auto, on and off are known";
  }
  return Compression::kAuto;
}

bool WantsRing(const Channel& channel) { return channel.OffersRing() && ChosenTransport() != "socket"; }

std::string UnmetTransport(const Channel& channel) {
  const std::string_view chosen = ChosenTransport();
  if (chosen.empty() || chosen == "socket") return {};
  if (chosen != "ring") return "VESPER_TRANSPORT is \"" + Printable(chosen, 32) + "\": ring and socket are known";
  if (std::string_view(channel.name()) == "ring") return {};
  return std::string("VESPER_TRANSPORT=ring, but there is no ring on this ") + channel.name();
}

bool ReceiveHello(Channel& channel, Hello* hello, std::string* error) {
  const bool received = Guarded(error, [&] {
    Message message;
    const ChannelStatus status = ReceiveWithin(channel, kHelloTime, &message);
    if (status != ChannelStatus::kOk) {
      *error = Explain(channel, status, "the client", kHelloTime);
    } else {
      *error = CheckHello(message, hello);
    }
    return error->empty();
  });
  if (!received) SendRefused(channel, *error);
  return received;
}

Heard HearHello(std::span<const uint8_t> bytes, Hello* hello, std::string* error) {
  const size_t frame = MessageBytes(bytes);
  if (frame == 0) return Heard::kPart;
  if (frame > kMaxFirstHelloBytes) {
    *error = "the first message is no Hello, or one of more than " + std::to_string(kMaxFirstHelloBytes) + " bytes";
    return Heard::kNonsense;
  }
  if (bytes.size() < frame) return Heard::kPart;
  error->clear();
  const bool heard = Guarded(error, [&] {
    Message message;
    *error = transport::DecodeFrame({bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(frame)}, &message);
    if (error->empty()) *error = CheckHello(message, hello);
    return error->empty();
  });
  return heard ? Heard::kHello : Heard::kNonsense;
}

size_t MessageBytes(std::span<const uint8_t> begin) {
  if (begin.size() < 8) return 0;
  const uint64_t segments = uint64_t{wire::Load<uint32_t>(begin.data())} + 1;
  if (segments > transport::kMaxSegments) return SIZE_MAX;
  size_t bytes = static_cast<size_t>((4 + 4 * segments + 7) / 8 * 8);
  if (begin.size() < bytes) return 0;
  for (size_t i = 0; i < segments; ++i) bytes += size_t{wire::Load<uint32_t>(&begin[4 + 4 * i])} * 8;
  return bytes;
}

bool HearResumed(std::vector<uint8_t> frame, Welcome* welcome, bool* refused, std::string* error) {
  *refused = false;
  return Guarded(error, [&] {
    Message message;
    *error = transport::DecodeFrame(std::move(frame), &message);
    if (!error->empty()) return false;
    *refused = message.kind == MessageKind::kRefused || message.kind == MessageKind::kGoodbye;
    Hello hello;
    hello.resumes_for = milliseconds(1);
    return TakeAnswer(hello, message, welcome, error);
  });
}

std::vector<uint8_t> EncodeHello(const Hello& hello) {
  std::vector<uint8_t> bytes;
  std::string error;
  Guarded(&error, [&] {
    capnp::MallocMessageBuilder builder;
    BuildHello(hello, &builder);
    const auto words = capnp::messageToFlatArray(builder);
    bytes.assign(words.asBytes().begin(), words.asBytes().end());
    return true;
  });
  return bytes;
}

std::vector<uint8_t> EncodeNotice(MessageKind kind, const std::string& text) {
  std::vector<uint8_t> bytes;
  std::string error;
  Guarded(&error, [&] {
    const std::span<const uint8_t> part(reinterpret_cast<const uint8_t*>(text.data()), text.size());
    const transport::OutgoingFrame frame(kind, 0, {&part, 1});
    std::array<iovec, 4> pieces;
    const size_t count = frame.Gather(pieces);
    for (size_t i = 0; i < count; ++i) {
      const auto* begin = static_cast<const uint8_t*>(pieces[i].iov_base);
      bytes.insert(bytes.end(), begin, begin + pieces[i].iov_len);
    }
    return true;
  });
  return bytes;
}

namespace {

void BuildWelcome(const Welcome& welcome, capnp::MessageBuilder* builder) {
  auto out = builder->initRoot<schema::Message>().initWelcome();
  out.setProtocol(welcome.protocol);
  out.setNamesWanted(welcome.names_wanted);
  out.setFingerprint(welcome.fingerprint);
  out.setSession(welcome.session);
  out.setMaxObjects(welcome.max_objects);
  out.setSharesMemory(welcome.shares_memory);
  out.setRing(welcome.ring);
  out.setCompression(welcome.compression);
  out.setAnswersMarks(welcome.answers_marks);
  out.setValidation(welcome.validation);
  if (welcome.resume_for.count() != 0) {
    out.setResumeFor(static_cast<uint32_t>(welcome.resume_for.count()));
    out.setSecret(DataOf(welcome.secret));
  }
  out.setReceived(welcome.received);
  EncodeNames(welcome.commands, out.initCommands(CountOf(welcome.commands)));
  EncodeNames(welcome.handle_types, out.initHandleTypes(CountOf(welcome.handle_types)));
}

}  // namespace

std::vector<uint8_t> EncodeWelcome(const Welcome& welcome) {
  std::vector<uint8_t> bytes;
  std::string error;
  Guarded(&error, [&] {
    capnp::MallocMessageBuilder builder;
    BuildWelcome(welcome, &builder);
    const auto words = capnp::messageToFlatArray(builder);
    bytes.assign(words.asBytes().begin(), words.asBytes().end());
    return true;
  });
  return bytes;
}

bool SendWelcome(Channel& channel, const Welcome& welcome, Compression wanted) {
  std::string error;
  return Guarded(&error, [&] {
    capnp::MallocMessageBuilder builder;
    BuildWelcome(welcome, &builder);
    if (SendMessage(channel, MessageKind::kWelcome, builder) != ChannelStatus::kOk) return false;
    if (welcome.compression && !welcome.names_wanted) channel.StartCompression(wanted);
    if (welcome.resume_for.count() != 0 && !welcome.names_wanted) {
      channel.StartResuming({welcome.session, welcome.secret, welcome.resume_for});
    }
    return !welcome.ring || welcome.names_wanted || channel.OfferRing();
  });
}

bool SendRefused(Channel& channel, const std::string& reason) {
  const std::span<const uint8_t> part(reinterpret_cast<const uint8_t*>(reason.data()), reason.size());
  return channel.Send(MessageKind::kRefused, 0, {&part, 1}) == ChannelStatus::kOk;
}

}  // namespace vesper
