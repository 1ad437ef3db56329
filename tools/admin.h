// `vesper ps`, `top`, `kill`, `drain` and `reload`: what whoever runs a server asks of it.
#pragma once

#include <cstdint>
#include <string>

namespace vesper::tools {

// `address` is where the server's admin socket is, unix:PATH; empty: where it is by default. All return an exit code.
int ListSessions(const std::string& address);
// Again and again, until a signal.
int WatchSessions(const std::string& address, double seconds);
int EndSession(const std::string& address, uint64_t session);
int Drain(const std::string& address);
int ReloadTokens(const std::string& address);

}  // namespace vesper::tools
