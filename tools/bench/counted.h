// What the client counted, as it wrote it into the file that VESPER_STATS names. It does so whenever an instance goes.
#pragma once

#include <cstdint>
#include <string>

namespace vesper::tools::bench {

class Counted {
 public:
  // Of this process: VESPER_STATS; an empty one where there is none.
  static Counted Read();
  explicit Counted(const std::string& path);

  bool empty() const { return json_.empty(); }
  // These throw std::runtime_error where it was not counted.
  uint64_t Number(const std::string& name) const;
  std::string Text(const std::string& name) const;

 private:
  std::string ValueOf(const std::string& name) const;
  std::string json_;
};

}  // namespace vesper::tools::bench
