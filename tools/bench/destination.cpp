#include "tools/bench/destination.h"

#include <stdexcept>
#include <vector>

#include "runtime/configuration.h"
#include "tools/installation.h"

namespace vesper::tools::bench {

Destination::Destination(const BenchOptions& options, const PrivateFolder& folder) {
  std::string given = options.server;
  if (given.empty()) {
    const bool tcp =
        options.matrix || options.transport == "tcp" || Line{options.delay_ms, options.rate_mbit}.is_proxied();
    const std::string listen = tcp ? "tcp://127.0.0.1:0" : "unix:" + folder.path() + "/server.sock";
    server_ = std::make_unique<OwnServer>(listen, options.native_driver, folder);
    given = server_->address();
  }
  std::vector<std::string> wrong;
  std::string error;
  address_ = Configuration::Read(&wrong).Find(given, &error);
  if (!address_) throw std::runtime_error("--server " + given + ": " + error);
  if (options.transport == "tcp" && address_->kind == Address::Kind::kUnix) {
    throw std::runtime_error("--transport tcp: " + given + " is a Unix socket");
  }
}

std::string Destination::Through(const Line& line) {
  proxy_.reset();
  if (!line.is_proxied()) return address_->WithSecrets();
  proxy_ = std::make_unique<Proxy>(*address_, line);
  return proxy_->address();
}

std::optional<double> Destination::CpuSeconds() const {
  return server_ == nullptr ? std::nullopt : std::optional(server_->CpuSeconds());
}

Environment NativeEnvironment(const BenchOptions& options) {
  Environment environment = {{"VESPER_SERVER", "none"}, {"VESPER_STATS", std::nullopt}};
  if (!options.native_driver.empty()) {
    for (const char* name : {"VK_ICD_FILENAMES", "VK_DRIVER_FILES"}) environment[name] = options.native_driver;
    environment["VK_ADD_DRIVER_FILES"] = std::nullopt;
  }
  return environment;
}

Environment VesperEnvironment(const BenchOptions& options, const std::string& address) {
  Environment environment = {{"VESPER_SERVER", address},
                             {"VK_ICD_FILENAMES", ManifestPath()},
                             {"VK_DRIVER_FILES", ManifestPath()},
                             {"VK_ADD_DRIVER_FILES", std::nullopt},
                             {"VESPER_STATS", std::nullopt}};
  if (options.transport == "ring" || options.transport == "socket") environment["VESPER_TRANSPORT"] = options.transport;
  return environment;
}

}  // namespace vesper::tools::bench
