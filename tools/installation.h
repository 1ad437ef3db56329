// Where the parts of Vesper lie, as seen from this program: the build tree and an installation are
// laid out alike.
#pragma once

#include <optional>
#include <string>

namespace vesper::tools {

// The folder of this program's binary. Throws std::runtime_error when the system does not tell.
std::string BinaryFolder();

// BinaryFolder()/../share/vulkan/icd.d/vesper_icd.ARCH.json, whether it exists or not.
std::string ManifestPath();

// What "library_path" says in a driver manifest, made absolute; nullopt with a sentence in `error`.
std::optional<std::string> LibraryOfManifest(const std::string& manifest, std::string* error);

}  // namespace vesper::tools
