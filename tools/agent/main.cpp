// vesper-agent, in a guest: lets programs that have Mesa's Venus driver instead of Vesper's client use the GPU of the host
// (docs/guests.md). Programs with Vesper's client need none of it.
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <thread>

#include "runtime/address.h"
#include "tools/agent/dax_files.h"
#include "tools/agent/relay.h"

namespace vesper::agent {
namespace {

constexpr int kPortTime = 30000;  // ms that a program waits for a port while all are in use
constexpr int kMostPrograms = 256;

struct Options {
  std::string venus = "unix:/run/vesper/venus.sock";
  std::string files;
  std::string mount = "/run/vesper/venus";
  std::string group;
};

int Fail(const std::string& why) {
  std::fprintf(stderr, "vesper-agent: %s\n", why.c_str());
  return 1;
}

// Only its owner may use the socket, and a group.
bool Open(const std::string& path, const std::string& group, std::string* error) {
  if (!group.empty()) {
    const ::group* const found = ::getgrnam(group.c_str());
    if (found == nullptr || ::chown(path.c_str(), static_cast<uid_t>(-1), found->gr_gid) != 0) {
      *error = "the socket cannot be given to the group " + group;
      return false;
    }
  }
  if (::chmod(path.c_str(), group.empty() ? 0600 : 0660) == 0) return true;
  *error = path + ": " + std::strerror(errno);
  return false;
}

void Serve(Listener* listener, int signals, const DaxFiles* files) {
  std::atomic<int> programs = 0;
  for (;;) {
    pollfd entries[] = {{listener->fd(), POLLIN, 0}, {signals, POLLIN, 0}};
    if (::poll(entries, 2, -1) < 0 && errno != EINTR) return;
    if (entries[1].revents != 0) return;
    Descriptor driver(listener->Accept());
    if (!driver.valid()) continue;
    if (++programs > kMostPrograms) {
      --programs;
      continue;
    }
    std::thread([driver = std::move(driver), files, &programs]() mutable {
      std::string error;
      Descriptor port = OpenGuestPort(*ParseAddress("guest://", &error), kPortTime, &error);
      if (port.valid()) {
        Relay(std::move(driver), std::move(port), files).Run();
      } else {
        Fail(error);
      }
      --programs;
    }).detach();
  }
}

int Run(const Options& options) {
  std::string error;
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigprocmask(SIG_BLOCK, &ends, nullptr);
  const Descriptor signals(::signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK));
  DaxFiles files;
  if (!(options.files.empty() ? files.Mount(options.mount, &error) : files.Open(options.files, &error))) {
    return Fail(error);
  }
  const std::optional<Address> address = ParseAddress(options.venus, &error);
  if (!address || address->kind != Address::Kind::kUnix) return Fail("--venus " + options.venus + ": write unix:PATH");
  if (!IsGuest()) return Fail("this is no guest of a vesper-server: it has no port vesper.N");
  const std::unique_ptr<Listener> listener = Listener::Open(*address, &error);
  if (listener == nullptr || !Open(address->path, options.group, &error)) return Fail(error);
  std::printf("VN_DEBUG=vtest VTEST_SOCKET_NAME=%s\n", address->path.c_str());
  std::fflush(stdout);
  Serve(listener.get(), signals.get(), &files);
  // What programs have of it ends with this process.
  ::unlink(address->path.c_str());
  ::_exit(0);
}

int Main(int argc, char** argv) {
  CLI::App app("In a guest of vesper-server: lets programs with Mesa's Venus driver use the GPU of the host");
  Options options;
  app.add_option("--venus", options.venus, "Where to accept the driver (VN_DEBUG=vtest VTEST_SOCKET_NAME=PATH)")
      ->type_name("unix:PATH")
      ->capture_default_str();
  app.add_option("--group", options.group, "Whose members may use it (else this user alone)")->type_name("GROUP");
  app.add_option("--mount", options.mount,
                 "Where to mount the host's memory, for this process alone; takes root, and mkfs.ext4 at first")
      ->type_name("FOLDER")
      ->capture_default_str();
  app.add_option("--files", options.files, "A folder where it is mounted already (ext4, -o dax=always)")
      ->type_name("FOLDER");
  CLI11_PARSE(app, argc, argv);
  return Run(options);
}

}  // namespace
}  // namespace vesper::agent

int main(int argc, char** argv) {
  try {
    return vesper::agent::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "vesper-agent: %s\n", error.what());
    return 1;
  }
}
