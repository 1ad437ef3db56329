// One program that uses Mesa's Venus driver: what it says goes to the host through a port of its own, what the host says back.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/agent_line.h"
#include "runtime/descriptor.h"
#include "tools/agent/dax_files.h"

namespace vesper::agent {

// On a thread of its own from connection to end. The files outlive the port: when the host has closed that, it has forgotten them.
class Relay {
 public:
  Relay(Descriptor driver, Descriptor port, const DaxFiles* files)
      : driver_(std::move(driver)), port_(std::move(port)), files_(files) {}
  void Run();

 private:
  bool Hear();  // the driver
  bool HearHost();
  bool TakeFrames();
  bool Take(AgentFrame frame, const uint8_t* body);
  bool MakeFile(const AgentFrame::Make& asked);
  bool Pass(int file);
  bool SendFrame(AgentFrame::Kind kind, std::span<const uint8_t> body);
  void AwaitEnd();

  Descriptor driver_;
  const Descriptor port_;
  const DaxFiles* const files_;
  std::unordered_map<uint64_t, Descriptor> made_, events_;
  std::vector<uint8_t> buffer_;  // from the host, no whole frame yet
};

}  // namespace vesper::agent
