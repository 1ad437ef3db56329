#include "runtime/sealed_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace vesper {

Descriptor MakeSealedFile(const char* name, uint64_t size) {
  rlimit largest{};  // beyond which the system sends a signal instead of an error
  if (::getrlimit(RLIMIT_FSIZE, &largest) == 0 && largest.rlim_cur != RLIM_INFINITY && size > largest.rlim_cur)
    return {};
  Descriptor file(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file.valid() || ::ftruncate(file.get(), static_cast<off_t>(size)) != 0) return {};
  int failed;
  do {
    failed = ::fallocate(file.get(), 0, 0, static_cast<off_t>(size));
  } while (failed != 0 && errno == EINTR);
  if (failed != 0 || ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) return {};
  return file;
}

bool IsSealed(const Descriptor& file, uint64_t size) {
  struct stat status;
  const int seals = ::fcntl(file.get(), F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_SHRINK) != 0 && ::fstat(file.get(), &status) == 0 && status.st_size >= 0 &&
         static_cast<uint64_t>(status.st_size) >= size;
}

}  // namespace vesper
