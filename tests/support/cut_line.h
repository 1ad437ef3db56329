// A line between client and server that a test can cut: relays bytes, understanding nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace vesper::test {

class CutLine {
 public:
  // Listens on an address of the same kind as `server`, in a folder of its own or on the loopback. nullptr with a sentence.
  static std::unique_ptr<CutLine> To(const std::string& server, std::string* error);
  virtual ~CutLine() = default;

  virtual const std::string& address() const = 0;
  // Ends every connection at once, both ways, as when a cable is pulled and both ends notice.
  virtual void Cut() = 0;
  // Connections made from now on end by themselves, both ways, when the server has said so many things.
  virtual void CutAfter(int answers) = 0;
  // How often something from the server followed something from a client, on all connections together: each round trip is one.
  virtual uint64_t turns() const = 0;
};

}  // namespace vesper::test
