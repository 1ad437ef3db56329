#include "tests/support/keep_drivers.h"

#include <dlfcn.h>
#include <link.h>

#include <cstddef>
#include <cstring>

namespace vesper::test {

#ifdef __SANITIZE_ADDRESS__
void KeepDriversLoaded() {
  const auto keep = [](dl_phdr_info* library, size_t, void*) {
    if (std::strstr(library->dlpi_name, "/libvulkan_") != nullptr) {
      dlopen(library->dlpi_name, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
    }
    return 0;
  };
  dl_iterate_phdr(keep, nullptr);
}
#else
void KeepDriversLoaded() {}
#endif

}  // namespace vesper::test
