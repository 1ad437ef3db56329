// The message layer against a hostile peer. The first byte says how the stream is cut into reads; the rest is the stream,
// in which Cap'n Proto's frames are found. What is a Hello or Welcome goes through the handshake of the side that gets it.
#include <algorithm>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "generated/vk/commands.h"
#include "runtime/handshake.h"
#include "runtime/transport/frame.h"
#include "runtime/transport/frame_reader.h"
#include "server/handles/translation.h"
#include "tests/fuzz/fed_channel.h"

namespace vesper::test {
namespace {

void Greeted(const Message& message) {
  FedChannel channel;
  channel.Feed({message.kind, message.sequence, message.payload});
  channel.End();
  std::string error;
  if (message.kind == MessageKind::kHello) {
    Hello hello;
    if (!ReceiveHello(channel, &hello, &error)) return;
    const server::Translation translation(hello.commands, hello.handle_types);
    for (uint32_t i = 0; i <= UINT16_MAX; i += 97) {
      const uint16_t command = translation.Command(static_cast<uint16_t>(i));
      if (command >= kCommandCount && command != server::Translation::kUnknown)
        throw std::logic_error("a command from nowhere");
    }
  } else {
    Welcome welcome;
    Greet(channel, Hello{}, &welcome, &error);
  }
}

// What was received can be sent, and is then received again.
void SentAgain(const Message& message) {
  const std::span<const uint8_t> part(message.payload);
  if (!transport::CheckMessage(message.kind, {&part, 1}).empty()) return;
  transport::OutgoingFrame frame(message.kind, message.sequence, {&part, 1});
  std::vector<uint8_t> bytes;
  iovec vectors[4];
  while (!frame.done()) {
    const size_t count = frame.Gather(vectors);
    size_t total = 0;
    for (size_t i = 0; i < count; ++i) {
      const auto* begin = static_cast<const uint8_t*>(vectors[i].iov_base);
      bytes.insert(bytes.end(), begin, begin + vectors[i].iov_len);
      total += vectors[i].iov_len;
    }
    frame.Advance(total);
  }
  Message again;
  const std::string error = transport::DecodeFrame(bytes, &again);
  if (!error.empty() || again.kind != message.kind || again.payload != message.payload) {
    throw std::logic_error("a message changed on its way: " + error);
  }
}

void Read(std::span<const uint8_t> stream, size_t step) {
  transport::FrameReader reader;
  reader.AcceptPacked();
  Message message;
  while (true) {
    switch (reader.Next(&message)) {
      case transport::FrameStatus::kMalformed:
        if (reader.error().empty()) throw std::logic_error("malformed without a reason");
        return;
      case transport::FrameStatus::kMessage:
        if (message.kind == MessageKind::kHello || message.kind == MessageKind::kWelcome) Greeted(message);
        SentAgain(message);
        break;
      case transport::FrameStatus::kWake:
        break;
      case transport::FrameStatus::kNeedMore: {
        if (stream.empty()) return;
        iovec vectors[2];
        const size_t count = reader.Space(vectors);
        size_t filled = 0;
        for (size_t i = 0; i < count && filled < step; ++i) {
          const size_t bytes = std::min({vectors[i].iov_len, stream.size(), step - filled});
          if (bytes != 0) std::memcpy(vectors[i].iov_base, stream.data(), bytes);
          stream = stream.subspan(bytes);
          filled += bytes;
        }
        if (filled == 0) throw std::logic_error("no space to read into");
        reader.Filled(filled);
        break;
      }
    }
  }
}

}  // namespace
}  // namespace vesper::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  vesper::test::Read({data + 1, size - 1}, data[0] == 0 ? SIZE_MAX : data[0] * size_t{3});
  return 0;
}
