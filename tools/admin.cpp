#include "tools/admin.h"

#include <capnp/ez-rpc.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <map>

#include "runtime/address.h"
#include "server/desk/admin.capnp.h"

namespace vesper::tools {
namespace {

namespace schema = admin::schema;

int Ask(const std::string& address, const std::function<int(schema::Admin::Client&, kj::WaitScope&)>& ask) {
  const std::string where = address.empty() ? DefaultAdminAddress().ToString() : address;
  try {
    capnp::EzRpcClient client(where.c_str());
    schema::Admin::Client admin = client.getMain<schema::Admin>();
    return ask(admin, client.getWaitScope());
  } catch (const kj::Exception& exception) {
    std::fprintf(
        stderr, "vesper: no answer from the server at %s: %s; does it run, and as you or root? --admin names another\n",
        where.c_str(), exception.getDescription().cStr());
    return 1;
  }
}

std::string Amount(double value) {
  const char* unit = "";
  for (const char* next : {"K", "M", "G", "T"}) {
    if (value < 10000) break;
    value /= 1024;
    unit = next;
  }
  char text[32];
  std::snprintf(text, sizeof text, "%.0f%s", value, unit);
  return text;
}

std::string Duration(double seconds) {
  const auto whole = static_cast<unsigned long>(seconds);
  char text[48];
  std::snprintf(text, sizeof text, "%lu:%02lu:%02lu", whole / 3600, whole / 60 % 60, whole % 60);
  return text;
}

void PrintHead(schema::Server::Reader server) {
  std::printf("%u sessions, %u waiting, %lu served, %lu refused, %lu faults, up %s%s\n", server.getSessions().size(),
              server.getWaiting(), static_cast<unsigned long>(server.getServed()),
              static_cast<unsigned long>(server.getRefused()), static_cast<unsigned long>(server.getFaults()),
              Duration(server.getSeconds()).c_str(), server.getDraining() ? ", draining" : "");
}

// Of a session whose connection broke, for how long its client has been waited for.
std::string Line(schema::Session::Reader session) {
  return session.getBroken() > 0 ? "broken " + std::to_string(static_cast<unsigned long>(session.getBroken())) + "s"
                                 : "";
}

void PrintSessions(schema::Server::Reader server) {
  std::printf("%7s %-16s %-20s %8s %9s %6s %7s %7s %7s %9s %8s %s\n", "SESSION", "WHO", "PROGRAM", "WORKER", "TIME",
              "DEVICE", "MEMORY", "IN", "OUT", "COMMANDS", "GPU-SEC", "LINE");
  for (const auto session : server.getSessions()) {
    const auto counters = session.getCounters();
    std::printf("%7lu %-16.16s %-20.20s %8d %9s %6s %7s %7s %7s %9s %8.2f %s\n",
                static_cast<unsigned long>(session.getNumber()),
                session.getWho().size() == 0 ? "-" : session.getWho().cStr(), session.getProgram().cStr(),
                session.getWorker(), Duration(session.getSeconds()).c_str(), session.getDevice() ? "yes" : "no",
                Amount(static_cast<double>(session.getMemory())).c_str(),
                Amount(static_cast<double>(counters.getBytesIn())).c_str(),
                Amount(static_cast<double>(counters.getBytesOut())).c_str(),
                Amount(static_cast<double>(counters.getCommands())).c_str(),
                static_cast<double>(counters.getGpuNanoseconds()) / 1e9, Line(session).c_str());
  }
}

// What one second of a session was like.
struct Rates {
  uint64_t in = 0, out = 0, commands = 0, replies = 0, gpu = 0;
};

Rates Of(schema::Counters::Reader counters) {
  return {counters.getBytesIn(), counters.getBytesOut(), counters.getCommands(), counters.getReplies(),
          counters.getGpuNanoseconds()};
}

void PrintRates(schema::Server::Reader server, std::map<uint64_t, Rates>* before, double seconds) {
  std::printf("%7s %-16s %-20s %6s %7s %8s %8s %10s %8s %s\n", "SESSION", "WHO", "PROGRAM", "GPU", "MEMORY", "IN/s",
              "OUT/s", "COMMANDS/s", "TRIPS/s", "LINE");
  std::map<uint64_t, Rates> now;
  for (const auto session : server.getSessions()) {
    const Rates here = Of(session.getCounters());
    now[session.getNumber()] = here;
    const auto found = before->find(session.getNumber());
    const Rates then = found == before->end() ? here : found->second;
    const auto rate = [seconds](uint64_t last, uint64_t first) { return static_cast<double>(last - first) / seconds; };
    std::printf("%7lu %-16.16s %-20.20s %5.1f%% %7s %8s %8s %10s %8s %s\n",
                static_cast<unsigned long>(session.getNumber()),
                session.getWho().size() == 0 ? "-" : session.getWho().cStr(), session.getProgram().cStr(),
                rate(here.gpu, then.gpu) / 1e7, Amount(static_cast<double>(session.getMemory())).c_str(),
                Amount(rate(here.in, then.in)).c_str(), Amount(rate(here.out, then.out)).c_str(),
                Amount(rate(here.commands, then.commands)).c_str(), Amount(rate(here.replies, then.replies)).c_str(),
                Line(session).c_str());
  }
  *before = std::move(now);
}

}  // namespace

int ListSessions(const std::string& address) {
  return Ask(address, [](schema::Admin::Client& admin, kj::WaitScope& scope) {
    const auto answer = admin.lookRequest().send().wait(scope);
    PrintHead(answer.getServer());
    PrintSessions(answer.getServer());
    return 0;
  });
}

int WatchSessions(const std::string& address, double seconds) {
  return Ask(address, [seconds](schema::Admin::Client& admin, kj::WaitScope& scope) {
    std::map<uint64_t, Rates> before;
    const bool terminal = isatty(STDOUT_FILENO) == 1;
    for (;;) {
      const auto answer = admin.lookRequest().send().wait(scope);
      if (terminal) std::printf("\033[H\033[J");
      PrintHead(answer.getServer());
      PrintRates(answer.getServer(), &before, seconds);
      std::fflush(stdout);
      usleep(static_cast<useconds_t>(seconds * 1e6));
    }
    return 0;
  });
}

int EndSession(const std::string& address, uint64_t session) {
  return Ask(address, [session](schema::Admin::Client& admin, kj::WaitScope& scope) {
    auto request = admin.endRequest();
    request.setSession(session);
    if (request.send().wait(scope).getFound()) return 0;
    std::fprintf(stderr, "vesper: there is no session %lu; `vesper ps` lists them\n",
                 static_cast<unsigned long>(session));
    return 1;
  });
}

int Drain(const std::string& address) {
  return Ask(address, [](schema::Admin::Client& admin, kj::WaitScope& scope) {
    admin.drainRequest().send().wait(scope);
    return 0;
  });
}

int ReloadTokens(const std::string& address) {
  return Ask(address, [](schema::Admin::Client& admin, kj::WaitScope& scope) {
    const auto answer = admin.reloadRequest().send().wait(scope);
    if (answer.getError().size() != 0) {
      std::fprintf(stderr, "vesper: the tokens stay as they were: %s; mend the file and reload again\n",
                   answer.getError().cStr());
      return 1;
    }
    std::printf("%u tokens\n", answer.getTokens());
    return 0;
  });
}

}  // namespace vesper::tools
