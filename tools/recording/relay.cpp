#include "tools/recording/relay.h"

#include <poll.h>

#include <chrono>
#include <future>
#include <optional>
#include <utility>

#include "generated/vk/commands.h"
#include "tools/recording/dialect.h"

namespace vesper::tools::recording {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kConnectMilliseconds = 5000;
constexpr milliseconds kWord{1000};  // to a client that waits for the server, so that it goes on waiting
constexpr milliseconds kTurn{50};    // between looks at what has not been written yet

bool Send(Channel* to, MessageKind kind, uint64_t sequence, std::span<const uint8_t> payload) {
  return to->Send(kind, sequence, {&payload, 1}) == ChannelStatus::kOk;
}

void SendText(Channel* to, MessageKind kind, const std::string& text) {
  Send(to, kind, 0, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

// The client's Hello with its names, which a server asks for only when it has others.
bool HearClient(Channel& client, Hello* hello, std::string* error) {
  if (!ReceiveHello(client, hello, error)) return false;
  if (!hello->commands.empty()) return true;
  Welcome names;
  names.fingerprint = kRegistryFingerprint;
  names.names_wanted = true;
  return SendWelcome(client, names) && ReceiveHello(client, hello, error);
}

// A channel to the server, greeted for the client.
std::unique_ptr<Channel> GreetServer(const Address& address, Hello hello, Welcome* welcome, std::string* error) {
  std::unique_ptr<Channel> server = Connect(address, kConnectMilliseconds, error);
  if (server == nullptr) return nullptr;
  hello.shares_memory = hello.ring = false;
  hello.resumes_for = milliseconds(0);  // it would come here, where nobody waits for it
  std::string ignored;
  hello.compression = WantedCompression(*server, &ignored);
  std::vector<std::string> commands, types;
  commands.swap(hello.commands);
  types.swap(hello.handle_types);
  if (!Greet(*server, hello, welcome, error)) return nullptr;
  if (welcome->names_wanted) {
    commands.swap(hello.commands);
    types.swap(hello.handle_types);
    if (!Greet(*server, hello, welcome, error)) return nullptr;
  }
  return server;
}

}  // namespace

// One session, and the two threads that pass its messages on.
struct Relay::Session {
  std::unique_ptr<Channel> client, server;
  std::optional<Dialect> dialect;  // when names are to be left out
  std::unique_ptr<Writer> writer;
  Recorded recorded;  // but for what the writer counts, written by `thread` alone until it has ended
  std::atomic<uint64_t> bytes{0};
  std::atomic<bool> ended{false};
  std::thread thread;

  bool Begin(const RelayOptions& options, std::atomic<int>* files);
  void Pass(bool to_server);
};

bool Relay::Session::Begin(const RelayOptions& options, std::atomic<int>* files) {
  Greeting greeting;
  std::string& error = recorded.error;
  if (!HearClient(*client, &greeting.hello, &error)) return false;
  recorded.program = greeting.hello.program;
  Welcome welcome;
  auto greeted =
      std::async(std::launch::async, [&] { return GreetServer(options.server, greeting.hello, &welcome, &error); });
  while (greeted.wait_for(kWord) != std::future_status::ready) {
    SendText(client.get(), MessageKind::kWaiting, "the server that is recorded has not answered yet");
  }
  server = greeted.get();
  if (server == nullptr) {
    SendRefused(*client, error);
    return false;
  }
  greeting.server_fingerprint = welcome.fingerprint;
  greeting.max_objects = welcome.max_objects;
  greeting.anonymous = options.anonymize;
  if (options.anonymize) {
    greeting.hello.program = "anonymous";
    dialect.emplace(greeting.hello.commands);
  }
  const int number = ++*files;
  const std::string file = options.file + (number == 1 ? "" : "." + std::to_string(number));
  writer = Writer::Create(file, greeting, &error);
  if (writer == nullptr) {
    SendRefused(*client, error);
    return false;
  }
  recorded.file = file;
  welcome.shares_memory = welcome.ring = welcome.compression = welcome.names_wanted = false;
  return SendWelcome(*client, welcome);
}

void Relay::Session::Pass(bool to_server) {
  Channel* const from = to_server ? client.get() : server.get();
  Channel* const to = to_server ? server.get() : client.get();
  Message message;
  for (;;) {
    const ChannelStatus status = from->Receive(&message, kTurn);
    if (status == ChannelStatus::kTimeout) {
      writer->Tick();
      continue;
    }
    if (status != ChannelStatus::kOk) break;
    bytes += message.payload.size();
    if (to_server && dialect && message.kind == MessageKind::kBatch) {
      message.payload = WithoutDebugNames(*dialect, message.payload);
    }
    // Ahead of passing it on: what the other end answers to it comes after it.
    writer->Add(to_server, message.kind, message.sequence, message.payload);
    if (!Send(to, message.kind, message.sequence, message.payload)) break;
  }
  // What the other end said last is still on its way.
  if (to_server) {
    server->Close();
  } else {
    client->Close();
  }
}

Relay::Relay(RelayOptions options, std::unique_ptr<Listener> listener)
    : options_(std::move(options)), listener_(std::move(listener)) {}

std::unique_ptr<Relay> Relay::Start(const RelayOptions& options, const std::string& socket, std::string* error) {
  std::unique_ptr<Listener> listener = Listener::Open({Address::Kind::kUnix, socket, "", 0}, error);
  if (listener == nullptr) return nullptr;
  std::unique_ptr<Relay> relay(new Relay(options, std::move(listener)));
  relay->acceptor_ = std::thread([relay = relay.get()] { relay->Accept(); });
  return relay;
}

Relay::~Relay() {
  if (acceptor_.joinable()) Finish(0);
}

void Relay::Accept() {
  while (!stopping_) {
    pollfd one{listener_->fd(), POLLIN, 0};
    if (poll(&one, 1, static_cast<int>(kTurn.count())) <= 0) continue;
    const int socket = listener_->Accept();
    if (socket < 0) continue;
    auto session = std::make_unique<Session>();
    session->client = MakeSocketChannel(socket);
    if (session->client == nullptr) continue;
    const MutexLock lock(mutex_);
    Session* const begun = session.get();
    begun->thread = std::thread([this, begun] {
      if (begun->Begin(options_, &files_)) {
        std::thread back([begun] { begun->Pass(false); });
        begun->Pass(true);
        back.join();
      }
      begun->client->Close();
      begun->ended = true;
    });
    sessions_.push_back(std::move(session));
  }
}

std::vector<Relay::Recorded> Relay::Finish(int patience_ms) {
  const auto until = Clock::now() + milliseconds(patience_ms);
  stopping_ = true;
  acceptor_.join();
  std::vector<Recorded> all;
  const MutexLock lock(mutex_);
  for (const auto& session : sessions_) {
    while (!session->ended && Clock::now() < until) std::this_thread::sleep_for(milliseconds(5));
    if (!session->ended) session->client->Close();
    session->thread.join();
    Recorded& recorded = session->recorded;
    if (session->writer != nullptr) {
      session->writer->Flush();
      recorded.messages = session->writer->messages();
      recorded.stored_bytes = session->writer->stored_bytes();
      if (recorded.error.empty()) recorded.error = session->writer->error();
    }
    recorded.bytes = session->bytes;
    all.push_back(recorded);
  }
  sessions_.clear();
  return all;
}

}  // namespace vesper::tools::recording
