// What it costs to get a message to another thread and an answer back, over each transport: the floor under every call that
// asks. The server's thread answers each batch at once.
#include <benchmark/benchmark.h>
#include <sys/socket.h>

#include <array>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "runtime/address.h"

namespace vesper {
namespace {

enum class Way { kRing, kUnix, kTcp };

ChannelPair Connected(Way way) {
  if (way == Way::kTcp) {
    std::string error;
    const auto listener = Listener::Open(*ParseAddress("tcp://127.0.0.1:0", &error), &error);
    auto client = Connect(listener->address(), 5000, &error);
    return {std::move(client), MakeSocketChannel(listener->Accept())};
  }
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) return {};
  ChannelPair pair{MakeSocketChannel(ends[0]), MakeSocketChannel(ends[1])};
  if (way == Way::kUnix) return pair;
  std::thread offering([&pair] { pair.server->OfferRing(); });
  pair.client->TakeRing();
  offering.join();
  return pair;
}

void Send(Channel& channel, MessageKind kind, const std::vector<uint8_t>& bytes) {
  const std::span<const uint8_t> part(bytes);
  channel.Send(kind, 1, {&part, 1});
}

// `sends` batches of `size` bytes, of which the last is answered.
void Round(benchmark::State& state, Way way, size_t size, int sends) {
  ChannelPair pair = Connected(way);
  std::thread server([&pair, sends] {
    Message message;
    const std::vector<uint8_t> answer(16);
    for (int i = 1; pair.server->Receive(&message, std::chrono::milliseconds(-1)) == ChannelStatus::kOk; ++i) {
      if (i % sends == 0) Send(*pair.server, MessageKind::kReply, answer);
    }
  });
  const std::vector<uint8_t> bytes(size);
  Message message;
  for (auto round : state) {
    static_cast<void>(round);
    for (int i = 0; i < sends; ++i) Send(*pair.client, MessageKind::kBatch, bytes);
    pair.client->Receive(&message, std::chrono::milliseconds(-1));
  }
  state.SetBytesProcessed(static_cast<int64_t>(size) * sends * static_cast<int64_t>(state.iterations()));
  pair.client->Close();
  server.join();
}

void Register(const char* name, Way way, size_t size, int sends) {
  benchmark::RegisterBenchmark(name, Round, way, size, sends)->UseRealTime()->Unit(benchmark::kMicrosecond);
}

}  // namespace
}  // namespace vesper

int main(int argc, char** argv) {
  using vesper::Way;
  vesper::Register("round_trip/ring", Way::kRing, 64, 1);
  vesper::Register("round_trip/unix", Way::kUnix, 64, 1);
  vesper::Register("round_trip/tcp", Way::kTcp, 64, 1);
  vesper::Register("100_batches_of_32k/ring", Way::kRing, 32 << 10, 100);
  vesper::Register("100_batches_of_32k/unix", Way::kUnix, 32 << 10, 100);
  vesper::Register("100_batches_of_32k/tcp", Way::kTcp, 32 << 10, 100);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
