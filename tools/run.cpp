#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime/address.h"
#include "runtime/configuration.h"
#include "runtime/environment.h"
#include "tools/commands.h"
#include "tools/installation.h"

namespace vesper::tools {
namespace {

constexpr int kCannotRun = 126;
constexpr int kNotFound = 127;

// Names the server in the environment: whoever runs a program this way wants to hear why there is no GPU. Empty, or what is
// wrong.
std::string Choose(const std::string& server, const std::string& program) {
  std::vector<std::string> wrong;
  std::string error;
  const Configuration configuration = Configuration::Read(&wrong);
  if (!server.empty()) {
    const auto address = configuration.Find(server, &error);
    if (!address) return "--server " + server + ": " + error;
    setenv("VESPER_SERVER", address->WithSecrets().c_str(), 1);
  } else if (Setting("VESPER_SERVER") == nullptr) {
    if (!wrong.empty()) return wrong.front();
    const std::string said = configuration.For(program.substr(program.rfind('/') + 1));
    const auto address = said.empty() || said == "none" ? DefaultUnixAddress() : configuration.Find(said, &error);
    if (!address) return error;
    setenv("VESPER_SERVER", address->WithSecrets().c_str(), 1);
  }
  return {};
}

}  // namespace

int Run(const std::string& server, const std::vector<std::string>& program) {
  const std::string manifest = ManifestPath();
  if (access(manifest.c_str(), R_OK) != 0) {
    std::fprintf(stderr, "vesper run: no driver manifest at %s; run `vesper doctor`\n", manifest.c_str());
    return kCannotRun;
  }
  if (const std::string why = Choose(server, program.front()); !why.empty()) {
    std::fprintf(stderr, "vesper run: %s\n", why.c_str());
    return kCannotRun;
  }
  // Loaders before 1.3.207 know only the first name, later ones prefer the second.
  setenv("VK_ICD_FILENAMES", manifest.c_str(), 1);
  setenv("VK_DRIVER_FILES", manifest.c_str(), 1);
  unsetenv("VK_ADD_DRIVER_FILES");

  std::vector<char*> arguments;
  for (const std::string& argument : program) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  const int error = errno;
  std::fprintf(stderr, "vesper run: cannot run %s: %s\n", arguments[0], std::strerror(error));
  return error == ENOENT ? kNotFound : kCannotRun;
}

}  // namespace vesper::tools
