// The subcommands of `vesper`. Each returns the exit status.
#pragma once

#include <string>
#include <vector>

namespace vesper::tools {

// Replaces this process by `program` (name and arguments), for which the remote GPU is the only
// one. `server` may be empty: then VESPER_SERVER or the defaults hold. Returns only on failure: 126
// or 127, as a shell would.
int Run(const std::string& server, const std::vector<std::string>& program);

// Prints the servers that the configuration names and the one on this machine, each with whether it answers, how long a
// handshake takes and which GPUs it has. They are asked at the same time. 0 when one answers, else 1.
int ListServers();

// Lets programs of this user use `server`, a name of the configuration or an address, from now on, and "none" no server. With
// `name` the address is also kept under that name. Changes the user's file and nothing else in it. 0, or 1 after a sentence.
int UseServer(const std::string& server, const std::string& name);

// Checks loader, manifest, server, versions and devices; prints what it found and, for each
// failure, what to do next. 0 when all is well, else 1.
int Doctor(const std::string& server);

}  // namespace vesper::tools
