#include "tools/installation.h"

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <stdexcept>

namespace vesper::tools {
namespace fs = std::filesystem;

std::string BinaryFolder() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  if (error) throw std::runtime_error("cannot read /proc/self/exe: " + error.message());
  return self.parent_path().string();
}

std::string ManifestPath() {
  const fs::path path =
      fs::path(BinaryFolder()) / ".." / "share" / "vulkan" / "icd.d" / ("vesper_icd." VESPER_ARCHITECTURE ".json");
  return path.lexically_normal().string();
}

std::optional<std::string> LibraryOfManifest(const std::string& manifest, std::string* error) {
  std::ifstream file(manifest);
  if (!file) {
    *error = manifest + " does not exist or cannot be read";
    return std::nullopt;
  }
  std::ostringstream text;
  text << file.rdbuf();
  const std::string content = text.str();
  static const std::regex kLibraryPath(R"re("library_path"\s*:\s*"([^"]+)")re");
  std::smatch match;
  if (!std::regex_search(content, match, kLibraryPath)) {
    *error = manifest + " names no library_path";
    return std::nullopt;
  }
  const fs::path library = match[1].str();
  // A bare name is searched for by the dynamic linker; any other relative path starts at the
  // manifest.
  if (library.is_absolute() || !library.has_parent_path()) return library.string();
  return (fs::path(manifest).parent_path() / library).lexically_normal().string();
}

}  // namespace vesper::tools
