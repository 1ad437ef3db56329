#include "server/entry/credentials.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "runtime/descriptor.h"
#include "runtime/tls/certificate.h"
#include "runtime/tls/handshake.h"
#include "server/entry/tokens.h"

namespace vesper::server {
namespace {

namespace fs = std::filesystem;

std::string DefaultFolder() {
  if (geteuid() == 0) return "/etc/vesper";
  if (const char* config = std::getenv("XDG_CONFIG_HOME"); config != nullptr && config[0] == '/') {
    return std::string(config) + "/vesper";
  }
  const char* home = std::getenv("HOME");
  return std::string(home == nullptr ? "." : home) + "/.config/vesper";
}

std::string Read(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

int Fail(const std::string& why) {
  fmt::print(stderr, "vesper-server: {}\n", why);
  return 1;
}

// Writes the file whole or not at all, and never lets others read it.
bool Write(const std::string& path, const std::string& text) {
  const std::string draft = path + ".new";
  unlink(draft.c_str());
  {
    const Descriptor file(open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file.valid() || write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
        fsync(file.get()) != 0) {
      return false;
    }
  }
  return rename(draft.c_str(), path.c_str()) == 0;
}

std::string CannotWrite(const std::string& path) {
  return fmt::format("cannot write {}: {}", path, std::strerror(errno));
}

std::string HostName() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

// The new token's text, or empty with a sentence.
std::string AddToken(const Credentials& files, Token token, std::string* error) {
  const std::string text = Read(files.tokens());
  const std::optional<Tokens> before = Tokens::Parse(text, error);
  if (!before) *error = files.tokens() + ", " + *error;
  if (!before) return {};
  *error = fmt::format("there is a token named {} already: --remove it first", token.name);
  if (before->Named(token.name) != nullptr) return {};
  std::string secret = tls::MakeToken();
  *error = "there is no randomness to be had";
  if (secret.empty() || !Tokens::ReadDigest(tls::DigestOf(secret), &token.digest)) return {};
  if (Write(files.tokens(), text + Tokens::Line(token))) return secret;
  *error = CannotWrite(files.tokens());
  return {};
}

bool MakeFolder(const Credentials& files, std::string* error) {
  std::error_code failure;
  fs::create_directories(files.folder(), failure);
  if (failure) *error = fmt::format("cannot make {}: {}", files.folder(), failure.message());
  if (!failure) chmod(files.folder().c_str(), 0700);
  return !failure;
}

int RemoveToken(const Credentials& files, const std::string& name) {
  std::istringstream lines(Read(files.tokens()));
  std::string line, rest;
  bool found = false;
  while (std::getline(lines, line)) {
    std::string first;
    std::istringstream(line) >> first;
    found |= first == name;
    if (first != name) rest += line + "\n";
  }
  if (!found) return Fail(fmt::format("{} has no token named {}", files.tokens(), name));
  if (!Write(files.tokens(), rest)) return Fail(CannotWrite(files.tokens()));
  fmt::print(stderr, "{} is no token any more once the server has been told: `vesper reload` or kill -HUP\n", name);
  return 0;
}

}  // namespace

Credentials::Credentials(const std::string& folder) : folder_(folder.empty() ? DefaultFolder() : folder) {}

int RunInit(const InitOptions& options) {
  const Credentials files(options.credentials);
  const std::string host = options.host.empty() ? HostName() : options.host;
  std::string error;
  if (!MakeFolder(files, &error)) return Fail(error);
  if (!fs::exists(files.key())) {
    const tls::KeyPair pair = tls::MakeKeyPair(host, nullptr, false, &error);
    if (pair.key.empty()) return Fail(error);
    if (!Write(files.key(), pair.key)) return Fail(CannotWrite(files.key()));
    if (!Write(files.certificate(), pair.certificate)) return Fail(CannotWrite(files.certificate()));
    fmt::print("key and certificate for {}: {}, {}\n", host, files.key(), files.certificate());
  }
  const std::string fingerprint = tls::ServerCredentials::FingerprintOf(Read(files.certificate()), &error);
  if (fingerprint.empty()) return Fail(files.certificate() + ": " + error);
  fmt::print("its fingerprint: {}\n", fingerprint);
  if (fs::exists(files.tokens())) {
    fmt::print("tokens: {}; `vesper-server token NAME` makes another\n", files.tokens());
    return 0;
  }
  Token first;
  first.name = "first";
  const std::string secret = AddToken(files, first, &error);
  if (secret.empty()) return Fail(error);
  const bool v6 = host.find(':') != host.npos;
  fmt::print("tokens: {}, with a first one, which is nowhere but in the line below\n\n", files.tokens());
  fmt::print("start the server:   vesper-server --listen tls://0.0.0.0:{}\n", options.port);
  fmt::print("paste on a client:  export VESPER_SERVER='tls://{}@{}:{}#{}'\n", secret, v6 ? "[" + host + "]" : host,
             options.port, fingerprint.substr(fingerprint.find(':') + 1));
  return 0;
}

int RunToken(const TokenOptions& options) {
  const Credentials files(options.credentials);
  if (!Tokens::IsName(options.name)) return Fail(std::string(Tokens::kNameRule));
  if (options.remove) return RemoveToken(files, options.name);
  std::string error;
  if (!MakeFolder(files, &error)) return Fail(error);
  Token token;
  token.name = options.name;
  token.sessions = options.sessions;
  token.memory_mib = options.memory_mib;
  token.gpu_seconds = options.gpu_seconds;
  token.idle_seconds = options.idle_seconds;
  token.queued_mib = options.queued_mib;
  const std::string secret = AddToken(files, token, &error);
  if (secret.empty()) return Fail(error);
  fmt::print("{}\n", secret);
  fmt::print(stderr, "a server that runs takes it once it has been told: `vesper reload` or kill -HUP\n");
  return 0;
}

}  // namespace vesper::server
