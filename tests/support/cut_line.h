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
  // The same, and both ends hear that the connection was reset, not closed.
  virtual void Tear() = 0;
  // Connections made from now on end by themselves, both ways, when the server has said so many things.
  virtual void CutAfter(int answers) = 0;
  // Connections made from now on end by themselves after a random number of bytes, both ways together, up to `most`: small ones are
  // as likely as large ones. Every second one is reset, and what is on its way then is lost. The same seed draws the same numbers.
  virtual void CutAtRandom(uint32_t seed, uint64_t most) = 0;
  // The same, each after so many bytes.
  virtual void CutAt(uint64_t bytes) = 0;
  // From now on nothing passes on the connections that there are, and nobody is told; new ones pass. As of a router that has
  // forgotten them.
  virtual void Forget() = 0;
  // The same for connections to come.
  virtual void ForgetAll() = 0;
  // Connections stay from now on.
  virtual void Mend() = 0;
  // From now on nobody gets through: new connections end at once.
  virtual void Close() = 0;
  // How many connections have ended by themselves, and how many were made.
  virtual uint64_t cuts() const = 0;
  virtual uint64_t connections() const = 0;
  // How often something from the server followed something from a client, on all connections together: each round trip is one.
  virtual uint64_t turns() const = 0;
};

}  // namespace vesper::test
