#include "compute/matmul/choices.h"

#include <unistd.h>

#include <bit>
#include <fstream>
#include <sstream>

namespace vesper::compute {
namespace {

constexpr const char* kFormat = "vesper-compute matmul 1";  // and the shaders' generation: raise it when they change

}  // namespace

MatmulClass ClassOf(ElementType type, const MatmulShape& shape) {
  const auto power = [](uint32_t size) { return static_cast<uint32_t>(std::bit_width(size == 0 ? 0 : size - 1)); };
  return {static_cast<uint32_t>(type), power(shape.m), power(shape.n), power(shape.k)};
}

MatmulChoices::MatmulChoices(std::filesystem::path file) : file_(std::move(file)) {
  if (file_.empty()) return;
  std::ifstream in(file_);
  std::string line;
  if (!std::getline(in, line) || line != kFormat) return;
  while (std::getline(in, line)) {
    std::istringstream words(line);
    MatmulClass size;
    std::string variant;
    if (words >> size[0] >> size[1] >> size[2] >> size[3] >> variant) choices_[size] = variant;
  }
}

std::string MatmulChoices::Find(const MatmulClass& size) const {
  const auto found = choices_.find(size);
  return found == choices_.end() ? "" : found->second;
}

void MatmulChoices::Set(const MatmulClass& size, const std::string& variant) {
  choices_[size] = variant;
  if (!file_.empty()) Save();
}

// As a whole, so that another process never reads a half.
void MatmulChoices::Save() const {
  std::error_code error;
  std::filesystem::create_directories(file_.parent_path(), error);
  std::filesystem::path temporary = file_;
  temporary += "." + std::to_string(getpid());
  {
    std::ofstream out(temporary);
    out << kFormat << "\n";
    for (const auto& [size, variant] : choices_) {
      out << size[0] << " " << size[1] << " " << size[2] << " " << size[3] << " " << variant << "\n";
    }
    if (!out.flush()) return;
  }
  std::filesystem::rename(temporary, file_, error);
  if (error) std::filesystem::remove(temporary, error);
}

}  // namespace vesper::compute
