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

std::optional<Address> ChosenServer(const std::string& server, const std::string& program, std::string* error) {
  std::vector<std::string> wrong;
  const Configuration configuration = Configuration::Read(&wrong);
  const char* said = Setting("VESPER_SERVER");
  if (!server.empty() || said != nullptr) {
    const auto address = configuration.Find(server.empty() ? said : server, error);
    if (!address) *error = (server.empty() ? "VESPER_SERVER: " : "--server " + server + ": ") + *error;
    return address;
  }
  if (!wrong.empty()) {
    *error = wrong.front();
    return std::nullopt;
  }
  const std::string rule = configuration.For(program.substr(program.rfind('/') + 1));
  return rule.empty() || rule == "none" ? DefaultAddress() : configuration.Find(rule, error);
}

bool OfferOnly(const Address& server, std::string* error) {
  const std::string manifest = ManifestPath();
  if (access(manifest.c_str(), R_OK) != 0) {
    *error = "no driver manifest at " + manifest + "; run `vesper doctor`";
    return false;
  }
  setenv("VESPER_SERVER", server.WithSecrets().c_str(), 1);
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
  const auto address = ChosenServer(server, program.front(), &error);
  if (address && OfferOnly(*address, &error)) return Become("vesper run", program);
  std::fprintf(stderr, "vesper run: %s\n", error.c_str());
  return kCannotRun;
}

}  // namespace vesper::tools
