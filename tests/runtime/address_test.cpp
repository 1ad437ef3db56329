// Addresses as people write them.
#include "runtime/address.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/runtime/channel_pair.h"

namespace vesper::test {
namespace {

Address Parse(const std::string& text) {
  std::string error;
  const auto address = ParseAddress(text, &error);
  EXPECT_TRUE(address.has_value()) << error;
  return address.value_or(Address{});
}

TEST(AddressTest, ParsesUnixPaths) {
  const Address address = Parse("unix:/run/user/1000/vesper/server.sock");
  EXPECT_EQ(address.kind, Address::Kind::kUnix);
  EXPECT_EQ(address.path, "/run/user/1000/vesper/server.sock");
}

TEST(AddressTest, ParsesHostsAndPorts) {
  const Address address = Parse("tcp://gpu-box.example:7700");
  EXPECT_EQ(address.kind, Address::Kind::kTcp);
  EXPECT_EQ(address.host, "gpu-box.example");
  EXPECT_EQ(address.port, 7700u);
  EXPECT_EQ(Parse("tcp://[fe80::1%eth0]:65535").host, "fe80::1%eth0");
  EXPECT_EQ(Parse("tcp://[::1]:0").port, 0u);
}

TEST(AddressTest, PrintsWhatItParses) {
  for (const char* text : {"unix:/a b/c", "unix:relative", "tcp://10.0.0.1:80", "tcp://[::1]:7700", "vsock://host:7700",
                           "vsock://3:4294967295", "vsock://any:1"}) {
    EXPECT_EQ(Parse(text).ToString(), text);
  }
}

TEST(AddressTest, ParsesPortsOfGuests) {
  EXPECT_EQ(Parse("guest://").kind, Address::Kind::kGuest);
  EXPECT_EQ(Parse("guest://").path, "");
  const Address address = Parse("guest:/dev/vport1p2,/dev/dax0.0");
  EXPECT_EQ(address.path, "/dev/vport1p2");
  EXPECT_EQ(address.area, "/dev/dax0.0");
  EXPECT_EQ(address.ToString(), "guest:/dev/vport1p2,/dev/dax0.0");
  EXPECT_TRUE(IsLoopback(address));
  std::string error;
  for (const char* wrong : {"guest:", "guest:/dev/vport1p2", "guest:,/dev/dax0.0", "guest:/dev/vport1p2,"}) {
    EXPECT_FALSE(ParseAddress(wrong, &error)) << wrong;
    EXPECT_NE(error.find("write guest://, or guest:PORT,FILE"), std::string::npos) << error;
  }
}

TEST(AddressTest, ParsesMachinesOfOneHost) {
  const Address address = Parse("vsock://42:70000");
  EXPECT_EQ(address.kind, Address::Kind::kVsock);
  EXPECT_EQ(address.cid, 42u);
  EXPECT_EQ(address.port, 70000u);
  EXPECT_EQ(Parse("vsock://2:7700").ToString(), "vsock://host:7700");
  EXPECT_EQ(Parse("vsock://local:7700").cid, 1u);
  EXPECT_EQ(Parse("vsock://any:0").cid, Address::kAnyCid);
}

TEST(AddressTest, ParsesTokensAndFingerprints) {
  const std::string fingerprint(64, 'a');
  const Address address = Parse("tls://the-Token_1@[::1]:7700#SHA256:" + fingerprint);
  EXPECT_EQ(address.kind, Address::Kind::kTls);
  EXPECT_EQ(address.host, "::1");
  EXPECT_EQ(address.port, 7700u);
  EXPECT_EQ(address.token, "the-Token_1");
  EXPECT_EQ(address.fingerprint, "SHA256:" + fingerprint);
  EXPECT_EQ(address.ToString(), "tls://[::1]:7700") << "logs hold no token";
  for (const std::string text : {"tls://h:1", "tls://t@h:1", "tls://h:1#ab:cd", "tls://t@h:1#abcd"}) {
    EXPECT_EQ(Parse(text).WithSecrets(), text);
  }
  std::string error;
  for (const char* wrong : {"tls://secret@host", "tls://secret@host:1#xyz", "tls://secret@:1"}) {
    EXPECT_FALSE(ParseAddress(wrong, &error)) << wrong;
    EXPECT_EQ(error.find("secret"), std::string::npos) << error;
  }
}

TEST(AddressTest, SaysWhatIsWrongAndWhatIsRight) {
  const std::pair<std::string, const char*> wrong[] = {
      {"", "write unix:PATH, tls://HOST:PORT, vsock://CID:PORT or tcp://HOST:PORT"},
      {"127.0.0.1:7700", "write unix:PATH, tls://HOST:PORT, vsock://CID:PORT or tcp://HOST:PORT"},
      {"tcp:127.0.0.1:7700", "write unix:PATH, tls://HOST:PORT, vsock://CID:PORT or tcp://HOST:PORT"},
      {"http://x:1", "write unix:PATH, tls://HOST:PORT, vsock://CID:PORT or tcp://HOST:PORT"},
      {"unix:", "a path is missing"},
      {"unix:/" + std::string(200, 'x'), "longer than the 107 bytes"},
      {"tcp://", "the port is missing"},
      {"tcp://host", "the port is missing, as in tcp://127.0.0.1:7700"},
      {"tcp://:7700", "the host is missing"},
      {"tcp://[]:7700", "the host is missing"},
      {"tcp://host:", "a number up to 65535"},
      {"tcp://host:http", "a number up to 65535"},
      {"tcp://host:65536", "a number up to 65535"},
      {"tcp://host:-1", "a number up to 65535"},
      {"tcp://host:7700/", "a number up to 65535"},
      {"tcp://ho st:7700", "no host name"},
      {"tcp://user@host:7700", "no host name"},
      {"tcp://::1:7700", "belongs in brackets, as in tcp://[::1]:7700"},
      {"tcp://[::1:7700", "bracket is not closed"},
      {"tcp://[::1]", "the port is missing"},
      {"tcp://[::1]7700", "a colon must follow"},
      {"vsock://7700", "the port is missing, as in vsock://host:7700"},
      {"vsock://:7700", "the machine must be a number"},
      {"vsock://guest:7700", "the machine must be a number"},
      {"vsock://-1:7700", "the machine must be a number"},
      {"vsock://4294967296:7700", "the machine must be a number"},
      {"vsock://3:", "a number up to 4294967295"},
      {"vsock://3:7700x", "a number up to 4294967295"},
      {"vsock://3:4294967296", "a number up to 4294967295"}};
  for (const auto& [text, expected] : wrong) {
    std::string error;
    EXPECT_FALSE(ParseAddress(text, &error).has_value()) << text;
    EXPECT_NE(error.find(expected), std::string::npos) << error;
    EXPECT_NE(error.find("\"" + text + "\""), std::string::npos) << "names the text: " << error;
  }
}

TEST(AddressTest, DefaultsFollowTheEnvironment) {
  const std::string fallback = "/tmp/vesper-" + std::to_string(getuid()) + "/server.sock";
  {
    const ScopedVariable variable("XDG_RUNTIME_DIR", "/run/user/7");
    EXPECT_EQ(DefaultUnixAddress().ToString(), "unix:/run/user/7/vesper/server.sock");
  }
  for (const std::string& useless : {std::string(), std::string("relative"), "/" + std::string(150, 'x')}) {
    const ScopedVariable variable("XDG_RUNTIME_DIR", useless);
    EXPECT_EQ(DefaultUnixAddress().path, fallback);
  }
}

TEST(AddressTest, KnowsWhatOnlyThisMachineReaches) {
  for (const char* text : {"unix:/x", "tcp://127.0.0.1:1", "tcp://127.8.9.1:1", "tcp://[::1]:1", "tcp://localhost:1",
                           "tcp://[::ffff:127.0.0.1]:1", "vsock://host:1"}) {
    EXPECT_TRUE(IsLoopback(Parse(text))) << text;
  }
  for (const char* text :
       {"tcp://0.0.0.0:1", "tcp://[::]:1", "tcp://192.168.1.1:1", "tcp://example.org:1", "tcp://[::ffff:10.0.0.1]:1"}) {
    EXPECT_FALSE(IsLoopback(Parse(text))) << text;
  }
}

}  // namespace
}  // namespace vesper::test
