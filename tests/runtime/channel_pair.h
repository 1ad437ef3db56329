// Connected channels of every transport, for tests that hold for all of them.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "runtime/area.h"
#include "runtime/channel.h"

namespace vesper::test {

enum class Transport : uint8_t { kTcp, kTls, kUnix, kSocketPair, kRing, kGuest, kLoopback };
const char* NameOf(Transport transport);
inline void PrintTo(Transport transport, std::ostream* out) { *out << NameOf(transport); }

// Two connected ends over `transport`; fails the test when that is not possible.
ChannelPair MakePair(Transport transport);

// A directory that is removed, with what is in it, at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A file that a guest and its host would share, with a label, in memory.
class TestArea {
 public:
  explicit TestArea(uint64_t bytes);
  // The file opened anew, as another process would.
  Descriptor Open() const;
  const AreaLabel& label() const { return label_; }

 private:
  Descriptor file_;
  AreaLabel label_;
};

// Sets an environment variable until the end of the scope.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const std::string& value);
  ~ScopedVariable();

 private:
  const char* name_;
  std::string before_;
  bool was_set_;
};

// The file descriptors of this process.
std::set<int> OpenDescriptors();

ChannelStatus SendBytes(Channel& channel, MessageKind kind, uint64_t sequence, const std::vector<uint8_t>& bytes);
ChannelStatus SendBatch(Channel& channel, uint64_t sequence, size_t size);
// What SendBatch() fills a payload with: differs by sequence and position.
std::vector<uint8_t> Pattern(uint64_t sequence, size_t size);

// The payload of a Hello or Welcome, and a text as bytes.
std::vector<uint8_t> HandshakePayload(MessageKind kind);
std::vector<uint8_t> Bytes(const std::string& text);

}  // namespace vesper::test
