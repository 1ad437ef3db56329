#include "server/desk/admin.h"

#include <capnp/rpc-twoparty.h>
#include <fcntl.h>
#include <kj/async-io.h>
#include <pthread.h>
#include <unistd.h>

#include "server/base/log.h"
#include "server/desk/admin.capnp.h"

namespace vesper::server {
namespace {

namespace schema = admin::schema;

void Fill(const Account& account, schema::Counters::Builder out) {
  out.setBytesIn(account.bytes_in);
  out.setBytesOut(account.bytes_out);
  out.setMessages(account.messages);
  out.setCommands(account.commands);
  out.setReplies(account.replies);
  out.setGpuNanoseconds(account.gpu_nanoseconds);
  out.setUnpackedIn(account.unpacked_in);
  out.setUnpackedOut(account.unpacked_out);
  out.setMemoryIn(account.memory_in);
  out.setMemoryOut(account.memory_out);
  out.setMemoryCompared(account.memory_compared);
  out.setResumptions(account.resumptions);
}

void Fill(const ServerView& view, schema::Server::Builder out) {
  out.setWaiting(view.waiting);
  out.setServed(view.served);
  out.setRefused(view.refused);
  out.setFaults(view.faults);
  out.setDraining(view.draining);
  out.setSeconds(view.seconds);
  Fill(view.ended, out.initEnded());
  auto sessions = out.initSessions(static_cast<unsigned>(view.sessions.size()));
  for (unsigned i = 0; i < sessions.size(); ++i) {
    const SessionView& from = view.sessions[i];
    auto to = sessions[i];
    to.setNumber(from.number);
    to.setWho(from.who.c_str());
    to.setProgram(from.program.c_str());
    to.setWorker(from.worker);
    to.setDevice(from.device);
    to.setSeconds(from.seconds);
    to.setMemory(from.memory);
    to.setBroken(from.broken);
    Fill(from.account, to.initCounters());
  }
}

class Admin final : public schema::Admin::Server {
 public:
  Admin(Desk* desk, Steering* steering) : desk_(desk), steering_(steering) {}

  kj::Promise<void> look(LookContext context) override {
    ServerView view;
    Ask([&] { view = steering_->View(); });
    Fill(view, context.getResults().initServer());
    return kj::READY_NOW;
  }
  kj::Promise<void> end(EndContext context) override {
    bool found = false;
    Ask([&] { found = steering_->End(context.getParams().getSession()); });
    context.getResults().setFound(found);
    return kj::READY_NOW;
  }
  kj::Promise<void> drain(DrainContext /*context*/) override {
    Ask([&] { steering_->Drain(); });
    return kj::READY_NOW;
  }
  kj::Promise<void> reload(ReloadContext context) override {
    std::string error;
    uint32_t tokens = 0;
    Ask([&] { tokens = steering_->Reload(&error); });
    context.getResults().setTokens(tokens);
    context.getResults().setError(error.c_str());
    return kj::READY_NOW;
  }

 private:
  // NOLINTNEXTLINE(bugprone-suspicious-semicolon): KJ's macro ends with an if
  void Ask(const std::function<void()>& question) { KJ_REQUIRE(desk_->Ask(question), "the server ends"); }
  Desk* const desk_;
  Steering* const steering_;
};

}  // namespace

std::unique_ptr<AdminService> AdminService::Open(const Address& address, Desk* desk, Steering* steering,
                                                 std::string* error) {
  std::unique_ptr<Listener> listener = Listener::Open(address, error);
  if (listener == nullptr) return nullptr;
  return std::unique_ptr<AdminService>(new AdminService(std::move(listener), desk, steering));
}

AdminService::AdminService(std::unique_ptr<Listener> listener, Desk* desk, Steering* steering)
    : listener_(std::move(listener)), desk_(desk), steering_(steering) {
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) Log(LogLevel::kError, "no descriptors are left for admin");
  stopped_ = Descriptor(ends[0]);
  stop_ = Descriptor(ends[1]);
  thread_ = std::thread([this] { Run(); });
}

AdminService::~AdminService() {
  stop_ = Descriptor();
  thread_.join();
}

void AdminService::Run() {
  pthread_setname_np(pthread_self(), "vesper-admin");
  try {
    auto io = kj::setupAsyncIo();
    auto listener = io.lowLevelProvider->wrapListenSocketFd(listener_->fd());
    auto stopped = io.lowLevelProvider->wrapInputFd(stopped_.get());
    capnp::TwoPartyServer server(kj::heap<Admin>(desk_, steering_));
    char byte;
    server.listen(*listener).exclusiveJoin(stopped->tryRead(&byte, 1, 1).ignoreResult()).wait(io.waitScope);
  } catch (const kj::Exception& exception) {
    Log(LogLevel::kError, "admin has ended: {}", exception.getDescription().cStr());
  }
}

}  // namespace vesper::server
