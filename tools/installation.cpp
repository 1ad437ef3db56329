#include "tools/installation.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string_view>

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

namespace {

// The string behind "key": in a JSON text; empty without one.
std::string StringOf(std::string_view json, std::string_view key) {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto skip = [&](size_t from, char wanted) {
    const size_t at = json.find_first_not_of(kSpace, from);
    return at != std::string_view::npos && json[at] == wanted ? at + 1 : std::string_view::npos;
  };
  const std::string quoted = '"' + std::string(key) + '"';
  for (size_t at = json.find(quoted); at != std::string_view::npos; at = json.find(quoted, at + 1)) {
    size_t begin = skip(at + quoted.size(), ':');
    if (begin != std::string_view::npos) begin = skip(begin, '"');
    if (begin == std::string_view::npos) continue;
    const size_t end = json.find('"', begin);
    return std::string(json.substr(begin, end == std::string_view::npos ? 0 : end - begin));
  }
  return {};
}

}  // namespace

std::optional<std::string> LibraryOfManifest(const std::string& manifest, std::string* error) {
  std::ifstream file(manifest);
  if (!file) {
    *error = manifest + " does not exist or cannot be read";
    return std::nullopt;
  }
  std::ostringstream text;
  text << file.rdbuf();
  const std::string content = text.str();
  const std::string path = StringOf(content, "library_path");
  if (path.empty()) {
    *error = manifest + " names no library_path";
    return std::nullopt;
  }
  const fs::path library = path;
  // A bare name is searched for by the dynamic linker; any other relative path starts at the
  // manifest.
  if (library.is_absolute() || !library.has_parent_path()) return library.string();
  return (fs::path(manifest).parent_path() / library).lexically_normal().string();
}

}  // namespace vesper::tools
