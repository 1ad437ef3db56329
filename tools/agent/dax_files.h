// Files on a file system of the memory that a guest shares with its host (file-system DAX): whoever maps one maps that memory, and
// where its bytes are the kernel says (FIEMAP).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/agent_line.h"
#include "runtime/descriptor.h"

namespace vesper::agent {

// A file that nobody can open by name, and which is gone when nobody has it any more.
struct DaxFile {
  Descriptor file;
  std::vector<AgentFrame::Place> places;  // one after the other
};

// Thread-safe.
class DaxFiles {
 public:
  // In a folder of such a file system that is mounted; or mounts the one that the host means for this, for this process and
  // what it starts alone, which takes root. False with a sentence.
  bool Open(const std::string& folder, std::string* error);
  bool Mount(const std::string& folder, std::string* error);

  // Of zeros behind the mark. Invalid with a sentence when there is no room.
  DaxFile Make(const AgentFrame::Make& asked, std::string* error) const;

 private:
  Descriptor folder_;
};

}  // namespace vesper::agent
