// Where `vesper bench` runs what it measures: on the local driver, or through a server, given or its own.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "runtime/address.h"
#include "tools/bench/bench.h"
#include "tools/bench/process.h"
#include "tools/bench/proxy.h"
#include "tools/bench/report.h"

namespace vesper::tools::bench {

// The server, as given or one of our own, and what is between it and the clients.
class Destination {
 public:
  // Throws std::runtime_error with why there is none.
  Destination(const BenchOptions& options, const PrivateFolder& folder);
  bool is_tcp() const { return address_->kind != Address::Kind::kUnix; }
  // The address to connect to, for a line like that.
  std::string Through(const Line& line);
  // What our own server has used so far, its processes included.
  std::optional<double> CpuSeconds() const;

 private:
  std::unique_ptr<OwnServer> server_;
  std::optional<Address> address_;
  std::unique_ptr<Proxy> proxy_;
};

// The local driver, and no server should our own be installed, too.
Environment NativeEnvironment(const BenchOptions& options);
// Of a client that sees nothing but the server, as `vesper run` has it.
Environment VesperEnvironment(const BenchOptions& options, const std::string& address);

}  // namespace vesper::tools::bench
