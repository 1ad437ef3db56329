#include "tools/bench/functions.h"

#include <dlfcn.h>

#include <stdexcept>
#include <string>

namespace vesper::tools::bench {

#define VESPER_BENCH_DEFINE(name) PFN_##name name = nullptr;
VESPER_BENCH_FUNCTIONS(VESPER_BENCH_DEFINE)
#undef VESPER_BENCH_DEFINE

namespace {

void* Find(void* loader, const char* name) {
  void* function = dlsym(loader, name);
  if (function == nullptr) throw std::runtime_error(std::string("libvulkan.so.1 has no ") + name + ": it is too old");
  return function;
}

}  // namespace

void OpenLoader() {
  // Left open: drivers do not bear being closed while threads of theirs end.
  void* loader = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
  if (loader == nullptr) throw std::runtime_error(dlerror());
#define VESPER_BENCH_FIND(name) name = reinterpret_cast<PFN_##name>(Find(loader, #name));
  VESPER_BENCH_FUNCTIONS(VESPER_BENCH_FIND)
#undef VESPER_BENCH_FIND
}

}  // namespace vesper::tools::bench
