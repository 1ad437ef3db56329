// What vesper-agent in a guest and a worker of its host say to each other through a port, so that Mesa's Venus driver, which speaks
// over a Unix socket of the guest, has its renderer on the host: frames of a kind, a length and so many bytes, behind a greeting
// that no other program begins with. Descriptors cannot travel; the memory behind them is files that the agent makes on a file
// system of the shared memory, whose places in it are told to the host (docs/guests.md).
#pragma once

#include <array>
#include <cstdint>

namespace vesper {

struct AgentFrame {
  enum Kind : uint32_t {
    kNothing,    // so that a closed port is noticed
    kBytes,      // either way: of the driver's socket
    kMake,       // by the host: a Make. Is answered
    kMade,       // by the agent: the number, then places; none: it cannot
    kPass,       // by the host: the number of a file, whose descriptor now goes into the driver's socket, with a byte
    kDrop,       // by the host: the number of a file that it uses no more
    kPassEvent,  // by the host: the number of an eventfd that is made and goes into the driver's socket
    kSignal,     // by the host: the number of such an event, which has come to pass
    kEnd         // by the agent: the driver has gone; the host closes the port
  };
  uint32_t kind = kNothing;
  uint32_t bytes = 0;  // that follow, kMost at most

  static constexpr uint32_t kMost = 64 << 10;
  static constexpr std::array<char, 8> kGreeting{'V', 'E', 'N', 'U', 'S', '0', '0', '1'};

  // The host's numbers are its own, and none is used twice. The file begins with `mark`, so that the host knows its place when it
  // sees it; the rest is zeros.
  struct Make {
    uint64_t number = 0;
    uint64_t bytes = 0;
    uint64_t mark = 0;
  };
  struct Place {
    uint64_t offset = 0;  // in the shared memory
    uint64_t bytes = 0;
  };
  static constexpr size_t kMostPlaces = (kMost - sizeof(uint64_t)) / sizeof(Place);
};
static_assert(sizeof(AgentFrame) == 8);

// The last page of the memory that has the file system begins with it, by which the agent finds it.
struct AgentLabel {
  static constexpr uint64_t kMagic = 0x31534c4946455656;  // "VVEFILS1"
  static constexpr uint64_t kPage = 4096;
  uint64_t magic = kMagic;
  uint64_t bytes = 0;  // for the file system, which lie before this page
};

}  // namespace vesper
