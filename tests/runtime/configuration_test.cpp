// Protects what decides which server a program uses: the user's file ahead of the system's, rules by program, and that a file
// with a mistake says so and does nothing.
#include "runtime/configuration.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace vesper {
namespace {

constexpr char kUser[] = R"(
server = "near"
[servers.near]
address = "unix:/run/near.sock"
[[programs]]
match = "blender*"
server = "far"
)";
constexpr char kSystem[] = R"(
server = "far"
[servers.near]
address = "unix:/run/other.sock"
[servers.far]
address = "tls://gpu.example:7700"
token = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
[[programs]]
match = "blender"
server = "none"
[[programs]]
match = "?cat"
server = "tcp://127.0.0.1:7"
)";

Configuration Both(std::vector<std::string>* wrong) {
  return Configuration::Of({{"user", kUser}, {"system", kSystem}}, wrong);
}

TEST(ConfigurationTest, TheUsersFileComesFirst) {
  std::vector<std::string> wrong;
  const Configuration both = Both(&wrong);
  EXPECT_TRUE(wrong.empty()) << wrong.front();
  std::string error;
  ASSERT_TRUE(both.Find("near", &error)) << error;
  EXPECT_EQ(both.Find("near", &error)->path, "/run/near.sock");
  ASSERT_TRUE(both.Find("far", &error)) << error;
  EXPECT_EQ(both.Find("far", &error)->token.substr(0, 4), "0123");
  EXPECT_EQ(both.For("anything"), "near");
  EXPECT_EQ(both.For("blender-4"), "far");
  EXPECT_EQ(both.For("blender"), "far") << "the user's rule, though the system's is closer";
  EXPECT_EQ(both.For("scat"), "tcp://127.0.0.1:7");
  EXPECT_EQ(both.servers().size(), 2u);
}

TEST(ConfigurationTest, AddressesNeedNoName) {
  std::string error;
  const Configuration none;
  EXPECT_TRUE(none.Find("unix:/run/x.sock", &error)) << error;
  EXPECT_FALSE(none.Find("workstation", &error));
  EXPECT_NE(error.find("vesper servers"), std::string::npos) << error;
  EXPECT_EQ(none.For("anything"), "");
}

TEST(ConfigurationTest, MistakesAreNamedAndNothingOfTheFileHolds) {
  const std::pair<const char*, const char*> mistakes[] = {
      {"server = ", "line 1"},
      {"sever = \"near\"", "sever is nothing"},
      {"[servers.near]\naddress = \"near\"", "servers.near: "},
      {"[servers.near]\naddress = \"unix:/x\"\ntoken = \"0\"", "tls:// alone"},
      {"[servers.near]\naddress = \"unix:/x\"\nport = 7", "port is nothing"},
      {"[servers]\nnear = \"unix:/x\"", "it is no table"},
      {"[[programs]]\nmatch = \"x\"", "programs[0]: "},
  };
  for (const auto& [text, why] : mistakes) {
    std::vector<std::string> wrong;
    std::string file = "server = \"unix:/y\"\n";
    file += text;
    const Configuration one = Configuration::Of({{"file", file}, {"system", kSystem}}, &wrong);
    ASSERT_EQ(wrong.size(), 1u) << text;
    EXPECT_EQ(wrong.front().substr(0, 6), "file: ");
    const std::string place = std::string_view(why) == "line 1" ? "line " : why;  // after the line ahead of it
    EXPECT_NE(wrong.front().find(place), std::string::npos) << wrong.front();
    EXPECT_EQ(one.For("x"), "far") << "the other file holds";
  }
}

class ConfiguredProgram : public testing::Test {
 protected:
  ConfiguredProgram() {
    char pattern[] = "/tmp/vesper-configuration-XXXXXX";
    folder_ = mkdtemp(pattern);
    std::filesystem::create_directory(folder_ + "/vesper");
    setenv("XDG_CONFIG_HOME", folder_.c_str(), 1);
    unsetenv("VESPER_SERVER");
  }
  ~ConfiguredProgram() override {
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("VESPER_SERVER");
    std::filesystem::remove_all(folder_);
  }
  void Write(const std::string& text) { std::ofstream(folder_ + "/vesper/config.toml") << text; }

  std::string folder_;
  bool chosen_ = false;
  std::string error_;
};

TEST_F(ConfiguredProgram, FollowsItsRuleAndTheEnvironmentWins) {
  std::string text = kUser;
  text += "[[programs]]\nmatch = \"runtime_*\"\nserver = \"unix:/run/mine.sock\"\n";
  Write(text);
  auto address = ServerOfThisProgram(&chosen_, &error_);
  ASSERT_TRUE(address) << error_;
  EXPECT_TRUE(chosen_);
  EXPECT_EQ(address->path, "/run/mine.sock");
  setenv("VESPER_SERVER", "near", 1);
  address = ServerOfThisProgram(&chosen_, &error_);
  ASSERT_TRUE(address) << error_;
  EXPECT_EQ(address->path, "/run/near.sock");
}

TEST_F(ConfiguredProgram, MayUseSeveralServers) {
  Write(kUser);
  setenv("VESPER_SERVER", "unix:/run/first.sock,near,tls://token@gpu:7700#ab", 1);
  const std::vector<Address> all = ServersOfThisProgram(&chosen_, &error_);
  ASSERT_EQ(all.size(), 3u) << error_;
  EXPECT_EQ(all[0].path, "/run/first.sock");
  EXPECT_EQ(all[1].path, "/run/near.sock");
  EXPECT_EQ(all[2].host, "gpu");
  EXPECT_EQ(ServerOfThisProgram(&chosen_, &error_)->path, "/run/first.sock");
  setenv("VESPER_SERVER", "unix:/run/first.sock,nobody", 1);  // nothing rather than something that nobody chose
  EXPECT_TRUE(ServersOfThisProgram(&chosen_, &error_).empty());
  EXPECT_NE(error_.find("nobody"), std::string::npos) << error_;
}

TEST(ConfigurationTest, TheCommaOfAGuestsAddressIsItsOwn) {
  std::string error;
  const auto found = Configuration().FindAll("guest:/port,/memory,unix:/here,guest://,guest:port,memory", &error);
  ASSERT_EQ(found.size(), 4u) << error;
  EXPECT_EQ(found[0].path, "/port");
  EXPECT_EQ(found[0].area, "/memory");
  EXPECT_EQ(found[1].path, "/here");
  EXPECT_EQ(found[2].kind, Address::Kind::kGuest);
  EXPECT_EQ(found[2].path, "");
  EXPECT_EQ(found[3].path, "port");
  EXPECT_EQ(found[3].area, "memory");
}

TEST_F(ConfiguredProgram, MayBeToldToUseNone) {
  Write("server = \"none\"\n");
  EXPECT_FALSE(ServerOfThisProgram(&chosen_, &error_));
  EXPECT_EQ(error_, "");
}

TEST_F(ConfiguredProgram, WithoutAWordUsesTheUsersSocketAndHasChosenNothing) {
  const auto address = ServerOfThisProgram(&chosen_, &error_);
  ASSERT_TRUE(address) << error_;
  EXPECT_FALSE(chosen_);
  EXPECT_EQ(address->path, DefaultUnixAddress().path);
}

// As the kernel of a virtual machine shows its ports, in a mount namespace of this process's own. False where that may not be.
bool BecomeAGuest() {
  if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  constexpr char kClasses[] = "/sys/class";
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("none", kClasses, "tmpfs", 0, nullptr) != 0) {
    return false;
  }
  const std::string port = std::string(kClasses) + "/virtio-ports/vport1p2";
  std::filesystem::create_directories(port);
  std::ofstream(port + "/name") << "vesper.0\n";
  return true;
}

TEST_F(ConfiguredProgram, InAGuestUsesTheHostWhereNothingElseIsNamed) {
  constexpr int kSkipped = 77;
  const pid_t guest = fork();
  if (guest == 0) {
    setenv("XDG_RUNTIME_DIR", folder_.c_str(), 1);
    const auto first = [this] { return ServerOfThisProgram(&chosen_, &error_)->ToString(); };
    EXPECT_EQ(first(), "unix:" + folder_ + "/vesper/server.sock");
    if (!BecomeAGuest()) _exit(kSkipped);
    EXPECT_EQ(first(), "guest://");
    EXPECT_FALSE(chosen_);
    // Who names servers gets these, in that order, and the host among them only where it is named.
    setenv("VESPER_SERVER", "unix:/run/first.sock,guest://,tcp://gpu:7700,guest:/port,/memory", 1);
    std::vector<std::string> all;
    for (const Address& each : ServersOfThisProgram(&chosen_, &error_)) all.push_back(each.ToString());
    EXPECT_EQ(all,
              (std::vector<std::string>{"unix:/run/first.sock", "guest://", "tcp://gpu:7700", "guest:/port,/memory"}));
    EXPECT_TRUE(chosen_);
    setenv("VESPER_SERVER", "tcp://gpu:7700,tcp://other:7700", 1);
    all.clear();
    for (const Address& each : ServersOfThisProgram(&chosen_, &error_)) all.push_back(each.ToString());
    EXPECT_EQ(all, (std::vector<std::string>{"tcp://gpu:7700", "tcp://other:7700"}));
    setenv("VESPER_SERVER", "none", 1);
    EXPECT_TRUE(ServersOfThisProgram(&chosen_, &error_).empty());
    unsetenv("VESPER_SERVER");
    Write("server = \"tcp://gpu:7700\"\n");
    EXPECT_EQ(first(), "tcp://gpu:7700");
    Write("");
    EXPECT_EQ(first(), "guest://");
    // A server of the guest's own comes before the host's.
    std::ofstream(folder_ + "/vesper/server.sock") << "";
    EXPECT_EQ(first(), "unix:" + folder_ + "/vesper/server.sock");
    _exit(HasFailure() ? 1 : 0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(guest, &status, 0), guest);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kSkipped) GTEST_SKIP() << "no mount namespace of one's own may be made here";
  EXPECT_EQ(WEXITSTATUS(status), 0) << "what failed stands above";
}

TEST_F(ConfiguredProgram, DoesNotGuessWhereTheFileIsWrong) {
  Write("server = near\n");
  EXPECT_FALSE(ServerOfThisProgram(&chosen_, &error_));
  EXPECT_NE(error_.find("config.toml: line 1"), std::string::npos) << error_;
}

}  // namespace
}  // namespace vesper
