// For virglrenderer in bench/venus-speed, by LD_PRELOAD. On lavapipe it needs /dev/udmabuf, which makes dma-bufs of memory files
// and is missing in most containers; lavapipe and virglrenderer only map what they get from it, and a memory file itself can be
// mapped as well.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/udmabuf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static int Open(const char* path, int flags, int mode) {
  if (strcmp(path, "/dev/udmabuf") == 0) return memfd_create("udmabuf", MFD_CLOEXEC);
  return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

#define STAND_IN(name)                        \
  int name(const char* path, int flags, ...) { \
    va_list more;                             \
    va_start(more, flags);                    \
    const int mode = va_arg(more, int);       \
    va_end(more);                             \
    return Open(path, flags, mode);           \
  }
STAND_IN(open)
STAND_IN(open64)

int ioctl(int fd, unsigned long request, ...) {
  va_list more;
  va_start(more, request);
  void* argument = va_arg(more, void*);
  va_end(more);
  switch ((unsigned)request) {
    case (unsigned)UDMABUF_CREATE: {
      const struct udmabuf_create* create = argument;
      if (create->offset == 0) return fcntl((int)create->memfd, F_DUPFD_CLOEXEC, 0);
      errno = EINVAL;
      return -1;
    }
    case (unsigned)DMA_BUF_IOCTL_SYNC:
      return 0;
    case (unsigned)DMA_BUF_IOCTL_EXPORT_SYNC_FILE:  // lavapipe asks once whether it can; nothing waits for it
      ((struct dma_buf_export_sync_file*)argument)->fd = eventfd(1, EFD_CLOEXEC);
      return 0;
    default:
      return (int)syscall(SYS_ioctl, fd, request, argument);
  }
}
