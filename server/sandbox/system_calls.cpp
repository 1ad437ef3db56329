#include "server/sandbox/system_calls.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <vector>

namespace vesper::server {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
constexpr uint32_t kArchitecture = 0;
#endif
constexpr uint32_t kX32 = 0x40000000;  // another calling convention of x86-64, with numbers of its own

// Learnt from lavapipe and from what the C library, LLVM, Mesa's drivers and NVIDIA's do; calls that change only the
// process itself, or use descriptors that it has.
constexpr int kAllowed[] = {
    // memory
    SYS_brk,
    SYS_mmap,
    SYS_munmap,
    SYS_mremap,
    SYS_mprotect,
    SYS_madvise,
    SYS_mlock,
    SYS_mlock2,
    SYS_munlock,
    SYS_mincore,
    SYS_msync,
    SYS_memfd_create,
    SYS_mbind,
    SYS_get_mempolicy,
    SYS_set_mempolicy,
    SYS_membarrier,
    SYS_pkey_alloc,
    SYS_pkey_mprotect,
    SYS_pkey_free,
    // descriptors that are open
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_lseek,
    SYS_close,
    SYS_close_range,
    SYS_dup,
    SYS_dup3,
    SYS_fstat,
    SYS_fstatfs,
    SYS_ftruncate,
    SYS_fallocate,
    SYS_fsync,
    SYS_fdatasync,
    SYS_fadvise64,
    SYS_flock,
    SYS_getdents64,
    SYS_pipe2,
    SYS_eventfd2,
    SYS_timerfd_create,
    SYS_timerfd_settime,
    SYS_timerfd_gettime,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_ppoll,
    SYS_pselect6,
    SYS_splice,
    SYS_sendfile,
    // the client's socket
    SYS_sendto,
    SYS_recvfrom,
    SYS_sendmsg,
    SYS_recvmsg,
    SYS_sendmmsg,
    SYS_recvmmsg,
    SYS_shutdown,
    SYS_getsockname,
    SYS_getpeername,
    SYS_getsockopt,
    SYS_setsockopt,
    SYS_pidfd_open,
    SYS_accept4,  // on the sockets that the door's process is given
    // CUDA's own socket (below), to which nobody comes: NVIDIA's ray tracing is built on CUDA and is refused without it
    SYS_bind,
    SYS_listen,
    // files, as far as user, Landlock and mounts allow
    SYS_openat,
    SYS_newfstatat,
    SYS_statx,
    SYS_statfs,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_readlinkat,
    SYS_getcwd,
    SYS_mkdirat,
    SYS_unlinkat,
    SYS_renameat2,
    SYS_utimensat,
    // threads and time
    SYS_exit,
    SYS_exit_group,
    SYS_futex,
    SYS_set_robust_list,
    SYS_get_robust_list,
    SYS_set_tid_address,
    SYS_rseq,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_sched_setaffinity,
    SYS_sched_getparam,
    SYS_sched_getscheduler,
    SYS_sched_get_priority_max,
    SYS_sched_get_priority_min,
    SYS_getcpu,
    SYS_nanosleep,
    SYS_clock_nanosleep,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_gettimeofday,
    SYS_times,
    SYS_getitimer,
    SYS_setitimer,
    SYS_timer_create,
    SYS_timer_settime,
    SYS_timer_gettime,
    SYS_timer_delete,
    SYS_restart_syscall,
    // signals of its own
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_rt_sigpending,
    SYS_rt_sigtimedwait,
    SYS_rt_sigsuspend,
    SYS_sigaltstack,
    // who and where it is
    SYS_getpid,
    SYS_gettid,
    SYS_getppid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_getgroups,
    SYS_getpgid,
    SYS_getsid,
    SYS_getresuid,
    SYS_getresgid,
    SYS_capget,
    SYS_uname,
    SYS_sysinfo,
    SYS_getrusage,
    SYS_getrandom,
    SYS_getpriority,
    SYS_kcmp,
#if defined(__x86_64__)
    SYS_arch_prctl,
    SYS_open,
    SYS_stat,
    SYS_lstat,
    SYS_access,
    SYS_readlink,
    SYS_poll,
    SYS_select,
    SYS_epoll_wait,
    SYS_epoll_create,
    SYS_eventfd,
    SYS_pipe,
    SYS_dup2,
    SYS_time,
    SYS_getpgrp,
    SYS_alarm,
    SYS_mkdir,
    SYS_unlink,
    SYS_rename,
#endif
#ifdef SYS_futex_waitv
    SYS_futex_waitv,
#endif
};

// What some driver may want beyond: helper processes, local daemons, kernel events.
constexpr int kAllowedToDrivers[] = {
    SYS_clone,
    SYS_execve,
    SYS_wait4,
    SYS_waitid,
    SYS_kill,
    SYS_prctl,
    SYS_connect,
    SYS_socketpair,
    SYS_shmget,
    SYS_shmat,
    SYS_shmctl,
    SYS_shmdt,
    SYS_inotify_init1,
    SYS_inotify_add_watch,
    SYS_inotify_rm_watch,
    SYS_chdir,
    SYS_fchmod,
    SYS_linkat,
    SYS_symlinkat,
    SYS_setpriority,
    SYS_sched_setscheduler,
    SYS_sched_setattr,
    SYS_sched_getattr,
    SYS_ioprio_set,
    SYS_signalfd4,
    SYS_userfaultfd,
#if defined(__x86_64__)
    SYS_vfork,
    SYS_fork,
#endif
};

constexpr uint32_t kFails = SECCOMP_RET_ERRNO | EPERM;

// A program for the kernel, of statements that each decide or fall through to the next.
class Filter {
 public:
  Filter() {
    Load(offsetof(seccomp_data, arch));
    Unless(kArchitecture, SECCOMP_RET_KILL_PROCESS);
    Load(offsetof(seccomp_data, nr));
#if defined(__x86_64__)
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kX32, 0, 1));
    Return(kFails);
#endif
  }

  void Allow(int call) { If(static_cast<uint32_t>(call), SECCOMP_RET_ALLOW); }
  void Fail(int call, int error) { If(static_cast<uint32_t>(call), SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)); }
  // By the low half of that argument: one of `values` gives `verdict`, anything else the opposite.
  void Judge(int call, unsigned argument, uint32_t verdict, std::initializer_list<uint32_t> values) {
    Skip(call, static_cast<uint8_t>(2 + 2 * values.size()));
    LoadArgument(argument);
    for (const uint32_t value : values) If(value, verdict);
    Return(verdict == SECCOMP_RET_ALLOW ? kFails : SECCOMP_RET_ALLOW);
  }
  // Allowed where that argument has all of `bits` set and none of `never`.
  void AllowBits(int call, unsigned argument, uint32_t bits, uint32_t never) {
    Skip(call, 5);
    LoadArgument(argument);
    code_.push_back(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, bits | never));
    If(bits, SECCOMP_RET_ALLOW);
    Return(kFails);
  }
  // Allowed with that first argument and one of those second ones, of both the low half.
  void AllowPair(int call, uint32_t first, std::initializer_list<uint32_t> seconds) {
    Skip(call, static_cast<uint8_t>(5 + 2 * seconds.size()));
    LoadArgument(0);
    Unless(first, kFails);
    LoadArgument(1);
    for (const uint32_t second : seconds) If(second, SECCOMP_RET_ALLOW);
    Return(kFails);
  }
  std::vector<sock_filter> Finish() {
    Return(kFails);
    return std::move(code_);
  }

 private:
  void Load(size_t offset) { code_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset))); }
  void LoadArgument(unsigned argument) {
    Load(offsetof(seccomp_data, args) + 8 * argument);
  }  // little-endian: low half
  void Return(uint32_t what) { code_.push_back(BPF_STMT(BPF_RET | BPF_K, what)); }
  void If(uint32_t value, uint32_t what) {
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1));
    Return(what);
  }
  void Unless(uint32_t value, uint32_t what) {
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0));
    Return(what);
  }
  // Over that many statements unless it is this call.
  void Skip(int call, uint8_t statements) {
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(call), 0, statements));
  }

  std::vector<sock_filter> code_;
};

std::vector<sock_filter> MakeFilter(Sandbox sandbox) {
  Filter filter;
  filter.Fail(SYS_clone3, ENOSYS);
  filter.Fail(SYS_openat2, ENOSYS);
  if (sandbox == Sandbox::kDriver) {
    for (const int call : kAllowedToDrivers) filter.Allow(call);
    filter.Judge(SYS_socket, 0, SECCOMP_RET_ALLOW, {AF_UNIX, AF_NETLINK});
  } else {
    // Such a socket sends to nobody before it has connected, which stays forbidden.
    filter.AllowPair(SYS_socket, AF_UNIX, {SOCK_SEQPACKET, SOCK_SEQPACKET | SOCK_CLOEXEC});
  }
  // Threads, no processes, and no way out of the namespaces.
  filter.AllowBits(
      SYS_clone, 0, CLONE_VM | CLONE_THREAD,
      CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET);
  filter.Judge(SYS_prctl, 0, SECCOMP_RET_ALLOW,
               {PR_SET_NAME, PR_GET_NAME, PR_SET_VMA, PR_GET_DUMPABLE, PR_SET_TIMERSLACK});
  filter.Judge(SYS_tgkill, 0, SECCOMP_RET_ALLOW, {static_cast<uint32_t>(getpid())});
  filter.Judge(SYS_prlimit64, 0, SECCOMP_RET_ALLOW, {0});
  filter.Judge(SYS_fcntl, 1, SECCOMP_RET_ALLOW,
               {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW, F_ADD_SEALS,
                F_GET_SEALS, F_OFD_SETLK, F_OFD_GETLK});
  // Devices are driven by ioctl; a terminal must not be typed into.
  filter.Judge(SYS_ioctl, 1, kFails, {TIOCSTI, TIOCLINUX, TIOCSETD, TIOCCONS});
  for (const int call : kAllowed) filter.Allow(call);
  return filter.Finish();
}

}  // namespace

bool FilterSystemCalls(Sandbox sandbox, std::string* error) {
  if (kArchitecture == 0) {
    *error = "system calls are filtered on x86-64 and arm64 only";
    return false;
  }
  std::vector<sock_filter> code = MakeFilter(sandbox);
  const sock_fprog program{static_cast<uint16_t>(code.size()), code.data()};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0) return true;
  *error = std::string("system calls cannot be filtered: ") + std::strerror(errno);
  return false;
}

}  // namespace vesper::server
