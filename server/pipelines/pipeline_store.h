// The supervisor's folder of pipelines: for each client and device one file, which only workers of that client get.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/descriptor.h"
#include "server/pipelines/pipeline_file.h"

namespace vesper::server {

// Owned by the supervisor, whose only thread calls it. Keeps within limits::kMaxPipelineFolder by removing what was kept first.
// What is in a file it never reads.
class PipelineStore {
 public:
  // `folder` is made when something is kept; empty: one of this user, "off": nothing is kept.
  explicit PipelineStore(const std::string& folder);

  bool keeps() const { return !folder_.empty(); }
  // Opened for reading; invalid when there is none.
  Descriptor Find(std::string_view client, const PipelineKey& key) const;
  // Instead of what is there. An invalid file removes that; what is no file of ours changes nothing.
  void Keep(std::string_view client, const PipelineKey& key, const Descriptor& file);

 private:
  std::string PathOf(std::string_view client, const PipelineKey& key) const;
  void MakeRoom(uint64_t bytes) const;

  std::string folder_;  // empty: none
  bool complained_ = false;
};

// Whose pipelines a client may use, and others may not: that of its token, certificate or guest, else its user on this machine,
// its virtual machine, or anyone who comes by TCP without TLS.
std::string PipelineOwner(std::string_view name, int socket);

}  // namespace vesper::server
