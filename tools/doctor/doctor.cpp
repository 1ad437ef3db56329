#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vulkan/vulkan.h>

#include <algorithm>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <vector>

#include "generated/vk/commands.h"
#include "runtime/address.h"
#include "runtime/configuration.h"
#include "runtime/environment.h"
#include "runtime/handshake.h"
#include "tools/commands.h"
#include "tools/devices.h"
#include "tools/doctor/line.h"
#include "tools/installation.h"
#include "tools/window/window.h"

namespace vesper::tools {
namespace {

constexpr int kConnectMilliseconds = 2000;

// The exit status: what was found first.
enum Trouble : int {
  kNone = 0,
  kHere = 1,      // the loader, the driver or a setting of this machine
  kNoAnswer = 3,  // no server answers
  kRefusal = 4,   // it refuses this client
  kVersions = 5,  // it speaks another protocol
  kNoDevice = 6,  // it has no device
};

class Findings {
 public:
  void Good(const char* what, const std::string& text) { std::printf("ok    %-9s %s\n", what, text.c_str()); }
  void Note(const std::string& text) { std::printf("                %s\n", text.c_str()); }
  void Bad(Trouble trouble, const char* what, const std::string& text, const std::string& next) {
    std::printf("FAIL  %-9s %s\n                next: %s\n", what, text.c_str(), next.c_str());
    if (first_ == kNone) first_ = trouble;
  }
  // What comes first stands in the way of the rest.
  Trouble first() const { return first_; }

 private:
  Trouble first_ = kNone;
};

[[gnu::format(printf, 1, 2)]] std::string Format(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return text;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// This one's; installed by a package it lies where packages put it.
std::string ReleaseText() {
  const std::string folder = BinaryFolder();
  return std::string("vesper ") + VESPER_VERSION + ", " +
         (folder == "/usr/bin" ? "installed by the package vesper-tools" : "from " + folder);
}

std::string VersionText(uint32_t version) {
  return Format("%u.%u.%u", VK_API_VERSION_MAJOR(version), VK_API_VERSION_MINOR(version),
                VK_API_VERSION_PATCH(version));
}

// vkGetInstanceProcAddr of the loader; nullptr after a finding.
PFN_vkGetInstanceProcAddr CheckLoader(Findings& findings) {
  void* loader = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
  if (loader == nullptr) {
    findings.Bad(kHere, "loader", dlerror(), "install the Vulkan loader; on Debian: apt install libvulkan1");
    return nullptr;
  }
  auto get = reinterpret_cast<PFN_vkGetInstanceProcAddr>(dlsym(loader, "vkGetInstanceProcAddr"));
  auto version = reinterpret_cast<PFN_vkEnumerateInstanceVersion>(
      get != nullptr ? get(nullptr, "vkEnumerateInstanceVersion") : nullptr);
  uint32_t value = 0;
  if (version == nullptr || version(&value) != VK_SUCCESS) {
    findings.Bad(kHere, "loader", "libvulkan.so.1 is older than Vulkan 1.1", "update the Vulkan loader");
    return nullptr;
  }
  findings.Good("loader", "libvulkan.so.1, Vulkan " + VersionText(value));
  return get;
}

bool CheckManifest(Findings& findings) {
  const std::string manifest = ManifestPath();
  constexpr char kRebuild[] = "build again, or install with `cmake --install`";
  std::string error;
  const auto library = LibraryOfManifest(manifest, &error);
  if (!library) {
    findings.Bad(kHere, "manifest", error, kRebuild);
    return false;
  }
  findings.Good("manifest", manifest);
  void* driver = dlopen(library->c_str(), RTLD_NOW | RTLD_LOCAL);
  if (driver == nullptr) {
    findings.Bad(kHere, "driver", dlerror(), kRebuild);
    return false;
  }
  if (dlsym(driver, "vk_icdNegotiateLoaderICDInterfaceVersion") == nullptr) {
    findings.Bad(kHere, "driver", *library + " is not a Vulkan driver", kRebuild);
    return false;
  }
  findings.Good("driver", *library);
  return true;
}

std::optional<Address> AddressToTry(const std::string& server, Findings& findings) {
  std::vector<std::string> wrong;
  const Configuration configuration = Configuration::Read(&wrong);
  for (const std::string& why : wrong) findings.Bad(kHere, "settings", why, "mend the file, or take it away");
  const char* variable = Setting("VESPER_SERVER");
  std::string text = !server.empty() ? server : variable != nullptr ? std::string(variable) : configuration.For("");
  if (text.empty() || text == "none") return DefaultAddress();
  std::string error;
  auto address = configuration.Find(text, &error);
  if (!address) {
    findings.Bad(
        kHere, "server", error,
        "give unix:PATH, tls://HOST:PORT, vsock://CID:PORT or tcp://HOST:PORT, or a name that `vesper servers` lists");
  }
  return address;
}

std::string NextAfterRefusal(const std::string& error) {
  const auto says = [&](const char* part) { return error.find(part) != std::string::npos; };
  if (says("token"))
    return "ask who runs the server for a token (`vesper-server token NAME`), and `vesper use` its line";
  if (says("protocol")) return "install the same release on both sides";
  if (says("many")) return "wait, or let who runs the server look at `vesper ps` and --max-sessions";
  if (says("drain")) return "the server is about to end: choose another with `vesper use`";
  return "see the server's log; is it a vesper-server that listens there?";
}

void ExplainNoAnswer(const Address& address, const std::string& error, Findings& findings) {
  if (address.kind == Address::Kind::kUnix && access(address.path.c_str(), F_OK) == 0 &&
      access(address.path.c_str(), W_OK) != 0) {
    findings.Bad(
        kRefusal, "server", error,
        "the socket is another user's: become a member of its group (for the system's server: vesper), or let who "
        "runs the server say --allow-user");
    return;
  }
  const bool pins = error.find("fingerprint") != std::string::npos || error.find("certificate") != std::string::npos;
  if (pins) {
    findings.Bad(
        kRefusal, "server", error,
        "compare with what `vesper-server init` printed there: another key means another server, or somebody between");
    return;
  }
  findings.Bad(
      kNoAnswer, "server", error,
      address.kind == Address::Kind::kTls
          ? "is vesper-server running there, and its port (7700) open? `vesper-server init` on the machine with the "
            "GPU "
            "prints address, token and fingerprint"
          : "start `vesper-server` on the machine with the GPU and name its address with --server or VESPER_SERVER");
}

// Whether others can read the tokens in the user's file.
void CheckSecrets(Findings& findings) {
  const std::string file = Configuration::UserFile();
  struct stat status {};
  if (file.empty() || stat(file.c_str(), &status) != 0 || (status.st_mode & (S_IRWXG | S_IRWXO)) == 0) return;
  std::vector<std::string> said_already;
  const Configuration configuration = Configuration::Of({{file, ReadFile(file)}}, &said_already);
  const auto secret = [](const Configuration::Server& each) { return !each.address.token.empty(); };
  if (std::none_of(configuration.servers().begin(), configuration.servers().end(), secret)) return;
  findings.Bad(kHere, "settings", file + " holds tokens and others can read it", "chmod 600 " + file);
}

// Says Hello as a client would; the session ends at once.
bool CheckHandshake(const Address& address, Channel& channel, Findings& findings) {
  Hello hello;
  hello.fingerprint = kRegistryFingerprint;
  hello.page_size = static_cast<uint32_t>(sysconf(_SC_PAGESIZE));
  hello.pid = static_cast<uint32_t>(getpid());
  hello.program = "vesper doctor";
  hello.ring = WantsRing(channel);
  Welcome welcome;
  std::string error;
  if (!Greet(channel, hello, &welcome, &error)) {
    findings.Bad(kRefusal, "server", address.ToString() + ": " + error, NextAfterRefusal(error));
    return false;
  }
  findings.Good("server", address.ToString() + " (" + channel.name() + ")");
  if (const std::string unmet = UnmetTransport(channel); !unmet.empty()) {
    findings.Bad(kHere, "server", unmet, "unset VESPER_TRANSPORT, or use a Unix socket of a server of this release");
  }
  if (address.kind == Address::Kind::kTls) {
    const bool pinned = !address.fingerprint.empty() || Setting("VESPER_FINGERPRINT") != nullptr;
    const char* authority = Setting("VESPER_CA");
    findings.Good("TLS", std::string("1.3; the server is known by ") + (pinned ? "its fingerprint"
                                                                        : authority != nullptr
                                                                            ? "the authority of VESPER_CA"
                                                                            : "an authority that the system trusts"));
    const bool token = !address.token.empty() || Setting("VESPER_TOKEN") != nullptr;
    findings.Note(token ? "it knows this client by its token" : "it knows this client by its certificate");
  } else if (!IsLoopback(address)) {
    findings.Note("without TLS: whoever is between sees and changes what passes; use tls://");
  }
  if (welcome.protocol != kProtocolVersion) {
    findings.Bad(kVersions, "versions",
                 Format("the server speaks protocol %u, this client %u", welcome.protocol, kProtocolVersion),
                 "install the same release on both sides");
    return false;
  }
  findings.Good("versions",
                Format("protocol %u, registry 1.%u.%u here, fingerprint %016" PRIx64, kProtocolVersion,
                       VK_API_VERSION_MINOR(VK_HEADER_VERSION_COMPLETE), kRegistryHeaderVersion, kRegistryFingerprint));
  if (welcome.fingerprint != kRegistryFingerprint) {
    findings.Note(Format("the server's registry differs (%016" PRIx64 "): programs get what both sides know",
                         welcome.fingerprint));
  }
  LineSpeed speed;
  if (!MeasureLine(channel, &speed)) {
    findings.Bad(kNoAnswer, "line", "the server went away while the line was measured", "see the server's log");
    return false;
  }
  findings.Good("line", Describe(speed));
  for (const std::string& sentence : WhatToExpect(speed)) findings.Note(sentence);
  return true;
}

// The address that answers, or nullopt after a finding.
std::optional<Address> CheckServer(const std::string& server, Findings& findings) {
  const std::optional<Address> address = AddressToTry(server, findings);
  if (!address) return std::nullopt;
  std::string error;
  const auto channel = Connect(*address, kConnectMilliseconds, &error);
  if (channel == nullptr) {
    ExplainNoAnswer(*address, error, findings);
    return std::nullopt;
  }
  return CheckHandshake(*address, *channel, findings) ? address : std::nullopt;
}

// What a program would see, through loader and driver.
void CheckDevices(const Address& address, Findings& findings) {
  constexpr char kNext[] = "VESPER_LOG=debug VK_LOADER_DEBUG=error,driver `vesper run -- vulkaninfo` says more";
  std::string error;
  const std::vector<SeenDevice> devices = DevicesOf(address, &error);
  for (const SeenDevice& device : devices) {
    findings.Good("device", Format("%s, Vulkan %s", device.name.c_str(), VersionText(device.version).c_str()));
  }
  if (devices.empty()) findings.Bad(kNoDevice, "devices", error.empty() ? "the server offers no device" : error, kNext);
}

// What the server draws, in a window of this machine.
void CheckWindow(const Address& address, double seconds, Findings& findings) {
  try {
    const window::Found found = window::ShowWindow(address.WithSecrets(), seconds);
    findings.Good("window", found.path + ": " + found.device);
    const std::string late =
        found.latency_ms < 0 ? "" : Format(", %.1f ms from drawing to the window", found.latency_ms);
    const char* frames = Setting("VESPER_FRAMES");
    findings.Note(Format("%.1f frames/s%s, %.1f KB a frame, VESPER_FRAMES=%s", found.frames_per_second, late.c_str(),
                         found.kilobytes_per_frame, frames == nullptr ? "exact" : frames));
  } catch (const std::runtime_error& error) {
    findings.Bad(kHere, "window", error.what(),
                 "run it where windows can be opened: DISPLAY or WAYLAND_DISPLAY is set there");
  }
}

}  // namespace

int Doctor(const std::string& server, double window_seconds) {
  Findings findings;
  findings.Good("release", ReleaseText());
  const PFN_vkGetInstanceProcAddr get = CheckLoader(findings);
  const bool driver = CheckManifest(findings);
  CheckSecrets(findings);
  const auto address = CheckServer(server, findings);
  if (get != nullptr && driver && address) {
    CheckDevices(*address, findings);
    if (findings.first() == kNone && window_seconds > 0) CheckWindow(*address, window_seconds, findings);
  }
  if (findings.first() == kNone) std::printf("all is well; try: vesper run -- vulkaninfo --summary\n");
  return findings.first();
}

}  // namespace vesper::tools
