// The subcommands of `vesper`. Each returns the exit status.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace vesper::tools {

// Replaces this process by `program` (name and arguments), for which the remote GPU is the only
// one. `server` may be empty: then VESPER_SERVER or the defaults hold. Returns only on failure: 126
// or 127, as a shell would.
int Run(const std::string& server, const std::vector<std::string>& program);

// Runs `program` as Run() does and writes what passes between it and the server into a file for each session, until it ends. Its
// exit status, if that is not 0; else 0, or 1 when it used no GPU.
struct RecordOptions {
  std::string server, file;
  bool anonymize = false;
};
int Record(const RecordOptions& options, const std::vector<std::string>& program);

// Plays a recording to a server so many times (0: for ever) and prints what became of it. 0, or 1 when `compare` finds something
// else than was recorded, or kCannotRun (tools/run.h).
struct ReplayOptions {
  std::string server, file;
  uint64_t frames = 0, times = 1;
  bool compare = false;
};
int Replay(const ReplayOptions& options);

// Prints the calls of a recording, those that match a shell pattern if there is one; with `json` writes that file instead, for
// Chrome's and Perfetto's viewers. 0, or 1 after a sentence when the file's end is missing.
struct TraceOptions {
  std::string file, match, json;
};
int Trace(const TraceOptions& options);

// Prints the servers that the configuration names and the one on this machine, each with whether it answers, how long a
// handshake takes and which GPUs it has. They are asked at the same time. 0 when one answers, else 1.
int ListServers();

// Whether a server takes sessions: 0, or 1 with why it does not. No session is begun, and no credentials are needed.
int Probe(const std::string& server);
// The bytes that ask for it, in hexadecimal digits, for load balancers.
int PrintProbe();

// Lets programs of this user use `server`, a name of the configuration or an address, from now on, and "none" no server. With
// `name` the address is also kept under that name. Changes the user's file and nothing else in it. 0, or 1 after a sentence.
int UseServer(const std::string& server, const std::string& name);

// Checks loader, manifest, settings, server, versions, line and devices; prints what it found and, for each failure, what to do
// next. 0 when all is well, else what came first (tools/doctor/doctor.cpp).
// With `window_seconds` it shows a window for so long as well.
int Doctor(const std::string& server, double window_seconds);

}  // namespace vesper::tools
