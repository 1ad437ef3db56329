#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime/address.h"
#include "tools/commands.h"
#include "tools/installation.h"

namespace vesper::tools {
namespace {

constexpr int kCannotRun = 126;
constexpr int kNotFound = 127;

}  // namespace

int Run(const std::string& server, const std::vector<std::string>& program) {
  const std::string manifest = ManifestPath();
  if (access(manifest.c_str(), R_OK) != 0) {
    std::fprintf(stderr, "vesper run: no driver manifest at %s; run `vesper doctor`\n", manifest.c_str());
    return kCannotRun;
  }
  if (!server.empty()) {
    std::string error;
    if (!ParseAddress(server, &error)) {
      std::fprintf(stderr, "vesper run: --server %s: %s\n", server.c_str(), error.c_str());
      return kCannotRun;
    }
    setenv("VESPER_SERVER", server.c_str(), 1);
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
