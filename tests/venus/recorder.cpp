// venus_recorder SOCKET FILE: serves Mesa's driver on the local Vulkan driver, one connection after the other, and writes what the
// driver said: one line for each command, its number, and in hexadecimal the bytes and those of the reply. tests/venus/record makes
// tests/venus/recorded.txt with it. Ends at SIGTERM.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "server/base/log.h"
#include "server/device/driver.h"
#include "server/session/session.h"
#include "server/venus/venus_channel.h"

namespace vesper::test {
namespace {

void Serve(int socket, std::FILE* out) {
  server::StartLog(server::LogLevel::kWarning, false);
  server::PrepareDriverEnvironment();
  std::string error;
  const std::unique_ptr<server::Driver> driver = server::Driver::Load({}, &error);
  if (driver == nullptr) {
    std::fprintf(stderr, "%s\n", error.c_str());
    return;
  }
  const auto tap = [out](uint32_t number, bool is_reply, std::span<const uint8_t> bytes) {
    std::string line = (is_reply ? "reply " : "request ") + std::to_string(number) + " ";
    for (const uint8_t byte : bytes) {
      constexpr char kDigits[] = "0123456789abcdef";
      line += kDigits[byte >> 4];
      line += kDigits[byte & 15];
    }
    std::fprintf(out, "%s\n", line.c_str());
  };
  const server::SessionLimits limits;
  auto channel = std::make_unique<venus::VenusChannel>(
      socket, venus::VenusChannel::Options{limits.objects, limits.command_bytes, tap});
  server::Session session(std::move(channel), driver.get(), 1, limits);
  if (session.Greet(&error)) session.Run();
  std::fflush(out);
}

int Listen(const char* path) {
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
  unlink(path);
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 || listen(listener, 8) != 0) {
    std::perror(path);
    return -1;
  }
  return listener;
}

int Record(const char* path, const char* file) {
  const int listener = Listen(path);
  std::FILE* out = std::fopen(file, "ae");
  if (listener < 0 || out == nullptr) return 1;
  std::printf("listening\n");
  std::fflush(stdout);
  for (;;) {
    const int peer = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (peer < 0) return 1;
    if (const pid_t child = fork(); child == 0) {
      Serve(peer, out);
      _exit(0);
    } else {
      close(peer);
      waitpid(child, nullptr, 0);
    }
  }
}

}  // namespace
}  // namespace vesper::test

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  return vesper::test::Record(argv[1], argv[2]);
}
