#include "tools/bench/counted.h"

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "runtime/environment.h"

namespace vesper::tools::bench {

Counted Counted::Read() {
  const char* path = Setting("VESPER_STATS");
  return Counted(path == nullptr ? "" : path);
}

Counted::Counted(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  json_ = text.str();
}

uint64_t Counted::Number(const std::string& name) const { return std::strtoull(ValueOf(name).c_str(), nullptr, 10); }

std::string Counted::Text(const std::string& name) const {
  std::string text = ValueOf(name);
  std::erase(text, '"');
  return text;
}

// What stands behind the first "name": the totals come first.
std::string Counted::ValueOf(const std::string& name) const {
  const size_t at = json_.find('"' + name + "\": ");
  if (at == std::string::npos) throw std::runtime_error("the client's statistics have no " + name);
  const size_t begin = at + name.size() + 4, end = json_.find_first_of(",\n", begin);
  return json_.substr(begin, end - begin);
}

}  // namespace vesper::tools::bench
