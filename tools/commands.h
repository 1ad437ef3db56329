// The subcommands of `vesper`. Each returns the exit status.
#pragma once

#include <string>
#include <vector>

namespace vesper::tools {

// Replaces this process by `program` (name and arguments), for which the remote GPU is the only
// one. `server` may be empty: then VESPER_SERVER or the defaults hold. Returns only on failure: 126
// or 127, as a shell would.
int Run(const std::string& server, const std::vector<std::string>& program);

// Checks loader, manifest, server, versions and devices; prints what it found and, for each
// failure, what to do next. 0 when all is well, else 1.
int Doctor(const std::string& server);

}  // namespace vesper::tools
