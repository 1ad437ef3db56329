// `vesper probe`: whether a server takes sessions, without beginning one.
#include "tools/probe.h"

#include <cstdio>
#include <memory>
#include <string>

#include "runtime/address.h"
#include "runtime/handshake.h"
#include "tools/commands.h"
#include "tools/run.h"

namespace vesper::tools {
namespace {

constexpr int kConnectMilliseconds = 3000;

// The same whoever asks.
Hello ProbeHello() {
  Hello hello;
  hello.program = kProbeProgram;
  return hello;
}

}  // namespace

bool TakesSessions(Address server, std::string* error) {
  if (server.kind == Address::Kind::kTls) server.kind = Address::Kind::kTcp;  // it is answered ahead of TLS
  const auto channel = Connect(server, kConnectMilliseconds, error);
  Welcome welcome;
  if (channel != nullptr && Greet(*channel, ProbeHello(), &welcome, error)) {
    *error = "it began a session: it is older than this";
  }
  return error->find(kReady) != std::string::npos;
}

int Probe(const std::string& server) {
  std::string error;
  const auto address = ChosenServer(server, "vesper", &error);
  if (address && TakesSessions(*address, &error)) {
    std::printf("%s\n", kReady);
    return 0;
  }
  std::fprintf(stderr, "vesper probe: %s\n", error.c_str());
  return 1;
}

int PrintProbe() {
  for (const uint8_t byte : EncodeHello(ProbeHello())) std::printf("%02x", byte);
  std::printf("\n");
  return 0;
}

}  // namespace vesper::tools
