#include "tools/run.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime/configuration.h"
#include "runtime/environment.h"
#include "tools/commands.h"
#include "tools/installation.h"

namespace vesper::tools {

std::vector<Address> ChosenServers(const std::string& server, const std::string& program, std::string* error) {
  std::vector<std::string> wrong;
  const Configuration configuration = Configuration::Read(&wrong);
  const char* said = Setting("VESPER_SERVER");
  if (!server.empty() || said != nullptr) {
    auto addresses = configuration.FindAll(server.empty() ? said : server, error);
    if (addresses.empty()) *error = (server.empty() ? "VESPER_SERVER: " : "--server " + server + ": ") + *error;
    return addresses;
  }
  if (!wrong.empty()) {
    *error = wrong.front();
    return {};
  }
  const std::string rule = configuration.For(program.substr(program.rfind('/') + 1));
  if (rule.empty() || rule == "none") return {DefaultAddress()};
  return configuration.FindAll(rule, error);
}

std::optional<Address> ChosenServer(const std::string& server, const std::string& program, std::string* error) {
  const std::vector<Address> all = ChosenServers(server, program, error);
  if (all.size() > 1) *error = "several servers are named, and this is about one: say which with --server";
  return all.size() == 1 ? std::optional(all.front()) : std::nullopt;
}

bool OfferOnly(const std::vector<Address>& servers, std::string* error) {
  const std::string manifest = ManifestPath();
  if (access(manifest.c_str(), R_OK) != 0) {
    *error = "no driver manifest at " + manifest + "; run `vesper doctor`";
    return false;
  }
  std::string text;
  for (const Address& each : servers) text += (text.empty() ? "" : ",") + each.WithSecrets();
  setenv("VESPER_SERVER", text.c_str(), 1);
  // Loaders before 1.3.207 know only the first name, later ones prefer the second.
  setenv("VK_ICD_FILENAMES", manifest.c_str(), 1);
  setenv("VK_DRIVER_FILES", manifest.c_str(), 1);
  unsetenv("VK_ADD_DRIVER_FILES");
  return true;
}

int Become(const char* who, const std::vector<std::string>& program) {
  std::vector<char*> arguments;
  for (const std::string& argument : program) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  const int error = errno;
  std::fprintf(stderr, "%s: cannot run %s: %s\n", who, arguments[0], std::strerror(error));
  return error == ENOENT ? kNotFound : kCannotRun;
}

int Run(const std::string& server, const std::vector<std::string>& program) {
  std::string error;
  const auto servers = ChosenServers(server, program.front(), &error);
  if (!servers.empty() && OfferOnly(servers, &error)) return Become("vesper run", program);
  std::fprintf(stderr, "vesper run: %s\n", error.c_str());
  return kCannotRun;
}

}  // namespace vesper::tools
