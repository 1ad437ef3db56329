// What was measured to be fastest, kept in a file.
#pragma once

#include <array>
#include <filesystem>
#include <map>
#include <string>

#include "vesper/compute/matmul.h"

namespace vesper::compute {

// Sizes that share a choice: the element type and the powers of two above M, N and K.
using MatmulClass = std::array<uint32_t, 4>;
MatmulClass ClassOf(ElementType type, const MatmulShape& shape);

// Not thread-safe. A file that cannot be read or has another format is as good as none; one that
// cannot be written neither.
class MatmulChoices {
 public:
  // An empty path: nothing is kept.
  explicit MatmulChoices(std::filesystem::path file);

  // Empty when nothing is known.
  std::string Find(const MatmulClass& size) const;
  void Set(const MatmulClass& size, const std::string& variant);

 private:
  void Save() const;

  std::filesystem::path file_;
  std::map<MatmulClass, std::string> choices_;
};

}  // namespace vesper::compute
