#include <dlfcn.h>
#include <unistd.h>
#include <vulkan/vulkan.h>

#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "generated/vk/commands.h"
#include "runtime/address.h"
#include "runtime/configuration.h"
#include "runtime/environment.h"
#include "runtime/handshake.h"
#include "tools/commands.h"
#include "tools/devices.h"
#include "tools/installation.h"

namespace vesper::tools {
namespace {

constexpr int kConnectMilliseconds = 2000;

class Findings {
 public:
  void Good(const char* what, const std::string& text) { std::printf("ok    %-9s %s\n", what, text.c_str()); }
  void Note(const std::string& text) { std::printf("                %s\n", text.c_str()); }
  void Bad(const char* what, const std::string& text, const std::string& next) {
    std::printf("FAIL  %-9s %s\n                next: %s\n", what, text.c_str(), next.c_str());
    ++failures_;
  }
  int failures() const { return failures_; }

 private:
  int failures_ = 0;
};

[[gnu::format(printf, 1, 2)]] std::string Format(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return text;
}

std::string VersionText(uint32_t version) {
  return Format("%u.%u.%u", VK_API_VERSION_MAJOR(version), VK_API_VERSION_MINOR(version),
                VK_API_VERSION_PATCH(version));
}

// vkGetInstanceProcAddr of the loader; nullptr after a finding.
PFN_vkGetInstanceProcAddr CheckLoader(Findings& findings) {
  void* loader = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
  if (loader == nullptr) {
    findings.Bad("loader", dlerror(), "install the Vulkan loader; on Debian: apt install libvulkan1");
    return nullptr;
  }
  auto get = reinterpret_cast<PFN_vkGetInstanceProcAddr>(dlsym(loader, "vkGetInstanceProcAddr"));
  auto version = reinterpret_cast<PFN_vkEnumerateInstanceVersion>(
      get != nullptr ? get(nullptr, "vkEnumerateInstanceVersion") : nullptr);
  uint32_t value = 0;
  if (version == nullptr || version(&value) != VK_SUCCESS) {
    findings.Bad("loader", "libvulkan.so.1 is older than Vulkan 1.1", "update the Vulkan loader");
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
    findings.Bad("manifest", error, kRebuild);
    return false;
  }
  findings.Good("manifest", manifest);
  void* driver = dlopen(library->c_str(), RTLD_NOW | RTLD_LOCAL);
  if (driver == nullptr) {
    findings.Bad("driver", dlerror(), kRebuild);
    return false;
  }
  if (dlsym(driver, "vk_icdNegotiateLoaderICDInterfaceVersion") == nullptr) {
    findings.Bad("driver", *library + " is not a Vulkan driver", kRebuild);
    return false;
  }
  findings.Good("driver", *library);
  return true;
}

std::optional<Address> AddressToTry(const std::string& server, Findings& findings) {
  std::vector<std::string> wrong;
  const Configuration configuration = Configuration::Read(&wrong);
  for (const std::string& why : wrong) findings.Bad("settings", why, "mend the file, or take it away");
  const char* variable = Setting("VESPER_SERVER");
  std::string text = !server.empty() ? server : variable != nullptr ? std::string(variable) : configuration.For("");
  if (text.empty() || text == "none") return DefaultAddress();
  std::string error;
  auto address = configuration.Find(text, &error);
  if (!address) {
    findings.Bad(
        "server", error,
        "give unix:PATH, tls://HOST:PORT, vsock://CID:PORT or tcp://HOST:PORT, or a name that `vesper servers` lists");
  }
  return address;
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
    findings.Bad("server", address.ToString() + ": " + error,
                 "see the server's log; is it a vesper-server that listens there?");
    return false;
  }
  findings.Good("server", address.ToString() + " (" + channel.name() + ")");
  if (const std::string unmet = UnmetTransport(channel); !unmet.empty()) {
    findings.Bad("server", unmet, "unset VESPER_TRANSPORT, or use a Unix socket of a server of this release");
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
    findings.Bad("versions",
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
  return true;
}

// The address that answers, or nullopt after a finding.
std::optional<Address> CheckServer(const std::string& server, Findings& findings) {
  const std::optional<Address> address = AddressToTry(server, findings);
  if (!address) return std::nullopt;
  std::string error;
  const auto channel = Connect(*address, kConnectMilliseconds, &error);
  if (channel == nullptr) {
    findings.Bad("server", error,
                 address->kind == Address::Kind::kTls
                     ? "`vesper-server init` on the machine with the GPU prints address, token and fingerprint"
                     : "start `vesper-server` on the machine with the GPU and name its address with "
                       "--server or VESPER_SERVER");
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
  if (devices.empty()) findings.Bad("devices", error.empty() ? "the server offers no device" : error, kNext);
}

}  // namespace

int Doctor(const std::string& server) {
  Findings findings;
  const PFN_vkGetInstanceProcAddr get = CheckLoader(findings);
  const bool driver = CheckManifest(findings);
  const auto address = CheckServer(server, findings);
  if (get != nullptr && driver && address) CheckDevices(*address, findings);
  if (findings.failures() == 0) std::printf("all is well; try: vesper run -- vulkaninfo --summary\n");
  return findings.failures() == 0 ? 0 : 1;
}

}  // namespace vesper::tools
