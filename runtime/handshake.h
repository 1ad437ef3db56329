// What client and server tell each other before the first command. Carried by Cap'n Proto (runtime/transport).
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/channel.h"

namespace vesper {

inline constexpr uint32_t kProtocolVersion = 2;

// A Hello of this program asks whether the server takes sessions, and begins none: a server that does refuses it with kReady. For
// load balancers, who need no credentials for it, also where everything else speaks TLS.
inline constexpr char kProbeProgram[] = "vesper health check";
inline constexpr char kReady[] = "vesper is ready";
inline constexpr char kDraining[] = "the server is about to end and takes no new clients";

// What either end says of a session that is to go on over another connection.
struct Resume {
  uint64_t session = 0;
  ResumeSecret secret{};  // the client's alone
  uint64_t received = 0;  // how much of the peer's stream has come
};

struct Hello {
  uint32_t protocol = kProtocolVersion;
  uint64_t fingerprint = 0;  // of the registry that the sender was generated from (generated/vk/commands.h)
  uint32_t page_size = 0;
  uint32_t pid = 0;
  std::string program;                          // for the server's log
  bool shares_memory = false;                   // it takes file descriptors of memory with replies
  bool ring = false;                            // messages may travel through shared memory (Channel::OffersRing)
  bool validation = false;                      // messages of the server's validation layer are wanted
  Compression compression = Compression::kOff;  // how the server shall send; off: it takes no packed messages
  // How long this client tries to resume the session when the connection breaks; zero: not at all. Only whether it does travels.
  std::chrono::milliseconds resumes_for{0};
  // The session is to go on over this connection; its number is 0 in a Hello that begins one.
  Resume resume = {};
  // Only when the server asked for them, because the fingerprints differ: names by command id and by handle type.
  std::vector<std::string> commands;
  std::vector<std::string> handle_types;
};

struct Welcome {
  uint32_t protocol = kProtocolVersion;
  uint64_t fingerprint = 0;
  uint64_t session = 0;
  bool shares_memory = false;  // allocations may come as shared memory; only if the client asked
  bool ring = false;           // shared memory for messages follows; only if the client asked
  bool validation = false;     // the server runs the validation layer
  bool compression = false;    // both ends may send packed messages; only if the client asked
  bool answers_marks = false;  // it says how far it has come (wire::Control::kMark)
  bool names_wanted = false;   // the client says Hello again, with its names; then comes the final Welcome
  // How long the server waits for the client when the connection breaks, and what the client then shows; zero: it does not.
  std::chrono::milliseconds resume_for{0};
  ResumeSecret secret{};
  uint64_t received = 0;     // of a session that goes on: how much of the client's stream has come
  uint32_t max_objects = 0;  // that may live at the same time; 0: the server does not say
  // The names that the server decodes, when the fingerprints differ; what is not here must not be offered.
  std::vector<std::string> commands;
  std::vector<std::string> handle_types;
};

// Client: sends `hello` as it is and waits for the answer: up to 5 s, and on for as long as the server says at least so
// often that its turn will come. Returns false with a sentence in `error` (refused,
// closed, too slow, another protocol version). With welcome->names_wanted the client greets again, with its names. Takes the
// ring, and starts compression, where both want it, after the final Welcome.
bool Greet(Channel& channel, const Hello& hello, Welcome* welcome, std::string* error);

// Either end: what VESPER_COMPRESS ("auto", "on" or "off") asks for; off where the channel cannot. A sentence in `unknown` for
// anything else, which is taken for "auto".
Compression WantedCompression(const Channel& channel, std::string* unknown);

// Client: whether to ask for a ring: where the channel can have one, unless VESPER_TRANSPORT is "socket".
bool WantsRing(const Channel& channel);
// Client, after Greet(): why the channel is not what VESPER_TRANSPORT ("ring" or "socket") asks for, or empty.
std::string UnmetTransport(const Channel& channel);

// Server: waits up to 5 s for a Hello; answers. ReceiveHello returns false with a sentence in `error`, after having told
// the client.
bool ReceiveHello(Channel& channel, Hello* hello, std::string* error);
// Offers the ring, if `welcome` announces one, and starts compression as the client wants it, if it announces that.
bool SendWelcome(Channel& channel, const Welcome& welcome, Compression wanted = Compression::kOff);
bool SendRefused(Channel& channel, const std::string& reason);

// Server, for a peer that has no channel yet. `bytes` are what it has sent so far, of which nothing is taken away: the
// channel made later reads them again. A first Hello has no names and fits into kMaxFirstHelloBytes.
inline constexpr size_t kMaxFirstHelloBytes = 4096;
enum class Heard : uint8_t { kPart, kHello, kNonsense };
Heard HearHello(std::span<const uint8_t> bytes, Hello* hello, std::string* error);

// A whole answer to a Hello that resumes, read by the client: false, with the reason, for anything but a Welcome. `refused` says
// that the server will not answer otherwise later.
bool HearResumed(std::vector<uint8_t> frame, Welcome* welcome, bool* refused, std::string* error);
// How long the whole message is that begins with these bytes: 0 as long as they do not say it, SIZE_MAX for what is no message.
size_t MessageBytes(std::span<const uint8_t> begin);

// A whole Welcome as it lies in a stream; empty when memory is exhausted.
std::vector<uint8_t> EncodeWelcome(const Welcome& welcome);
// A whole Hello as it lies in a stream; empty when memory is exhausted.
std::vector<uint8_t> EncodeHello(const Hello& hello);
// A whole message of text for people (kRefused, kWaiting, kGoodbye) as it lies in a stream; empty when memory is exhausted.
std::vector<uint8_t> EncodeNotice(MessageKind kind, const std::string& text);

}  // namespace vesper
