// Protects what whoever runs a server sees of it, and the ways to steer it.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tests/server/live_server.h"

namespace vesper::test {
namespace {

std::string OutputOf(const std::string& command, int* status = nullptr) {
  std::string text;
  FILE* output = popen((command + " 2>&1").c_str(), "re");
  char line[1024];
  while (output != nullptr && std::fgets(line, sizeof(line), output) != nullptr) text += line;
  const int ended = output == nullptr ? -1 : pclose(output);
  if (status != nullptr) *status = WIFEXITED(ended) ? WEXITSTATUS(ended) : -1;
  return text;
}

uint16_t FreePort() {
  const Descriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(name);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&name), length) != 0) return 0;
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &length);
  return ntohs(name.sin_port);
}

std::string Scrape(uint16_t port) {
  Address address;
  address.port = port;
  const Descriptor fd = Dial(address);
  const std::string request = "GET /metrics HTTP/1.0\r\n\r\n";
  send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL);
  std::string answer;
  char part[4096];
  for (ssize_t count; (count = recv(fd.get(), part, sizeof(part), 0)) > 0;)
    answer.append(part, static_cast<size_t>(count));
  return answer;
}

class AdminTest : public testing::Test {
 protected:
  void Start(std::vector<std::string> more = {}) {
    char pattern[] = "/tmp/vesper-admin-XXXXXX";
    folder_ = mkdtemp(pattern);
    more.insert(more.end(), {"--admin", Where()});
    server_ = std::make_unique<Server>(more);
    ASSERT_TRUE(server_->Ready());
  }
  void TearDown() override {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }
  std::string Where() const { return "unix:" + folder_ + "/admin.sock"; }
  std::string Vesper(const std::string& command, int* status = nullptr) {
    const size_t space = command.find(' ');
    return OutputOf(std::string(VESPER_TOOL) + " " + command.substr(0, space) + " --admin " + Where() +
                        (space == command.npos ? "" : command.substr(space)),
                    status);
  }
  bool Sees(const std::string& command, const std::string& text) {
    for (int i = 0; i < 100; ++i) {
      if (Vesper(command).find(text) != std::string::npos) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    ADD_FAILURE() << Vesper(command);
    return false;
  }

  std::string folder_;
  std::unique_ptr<Server> server_;
};

TEST_F(AdminTest, SessionsAreListedWhileTheyLast) {
  Start();
  std::string error;
  EXPECT_EQ(Vesper("ps").find("0 sessions, 0 waiting, 0 served, 0 refused, 0 faults"), 0u) << Vesper("ps");
  auto channel = Greeted(server_->UnixAddress(), &error);
  ASSERT_NE(channel, nullptr) << error;
  EXPECT_TRUE(Sees("ps", "supervisor_test"));
  EXPECT_TRUE(Sees("ps", "1 sessions, 0 waiting, 1 served"));
  channel.reset();
  EXPECT_TRUE(Sees("ps", "0 sessions, 0 waiting, 1 served"));
}

TEST_F(AdminTest, ASessionIsEndedByOrderAndThatIsNoFault) {
  Start();
  std::string error;
  const auto stays = Greeted(server_->UnixAddress(), &error), goes = Greeted(server_->UnixAddress(), &error);
  ASSERT_NE(goes, nullptr) << error;
  int status = -1;
  Vesper("kill 2", &status);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(Ends(*goes));
  EXPECT_TRUE(Lives(*stays));
  EXPECT_NE(Vesper("kill 7", &status).find("there is no session 7"), std::string::npos);
  EXPECT_EQ(status, 1);
  EXPECT_TRUE(Sees("ps", "1 sessions, 0 waiting, 2 served, 0 refused, 0 faults"));
}

TEST_F(AdminTest, ADrainedServerEndsWithItsLastSession) {
  Start();
  std::string error;
  auto channel = Greeted(server_->UnixAddress(), &error);
  ASSERT_NE(channel, nullptr) << error;
  int status = -1;
  Vesper("drain", &status);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(Greeted(server_->TcpAddress(), &error), nullptr);
  EXPECT_NE(error.find("is about to end and takes no new clients"), std::string::npos) << error;
  EXPECT_TRUE(Lives(*channel));
  EXPECT_EQ(kill(server_->pid(), 0), 0);
  channel.reset();
  const int ended = server_->End(0);
  EXPECT_TRUE(WIFEXITED(ended) && WEXITSTATUS(ended) == 0) << ended;
}

TEST_F(AdminTest, TheSocketIsItsOwnersAlone) {
  Start();
  struct stat status {};
  ASSERT_EQ(stat((folder_ + "/admin.sock").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  server_->End(SIGTERM);
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/admin.sock"));
  int exit_status = 0;
  EXPECT_NE(Vesper("ps", &exit_status).find("no answer from the server"), std::string::npos);
  EXPECT_EQ(exit_status, 1);
}

// What does not speak its protocol hurts neither admin nor the server.
TEST_F(AdminTest, GarbageDoesNoHarm) {
  Start();
  for (int i = 0; i < 50; ++i) {
    const Descriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    (folder_ + "/admin.sock").copy(name.sun_path, sizeof(name.sun_path) - 1);
    ASSERT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
    const std::string bytes(static_cast<size_t>(i) * 37, static_cast<char>(i * 5));
    send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  EXPECT_TRUE(Sees("ps", "0 sessions"));
  std::string error;
  EXPECT_NE(Greeted(server_->UnixAddress(), &error), nullptr) << error;
}

TEST_F(AdminTest, PrometheusIsAnswered) {
  const uint16_t port = FreePort();
  Start({"--metrics", "127.0.0.1:" + std::to_string(port)});
  std::string error;
  const auto channel = Greeted(server_->UnixAddress(), &error);
  ASSERT_NE(channel, nullptr) << error;
  ASSERT_TRUE(Sees("ps", "1 sessions"));
  std::string text = Scrape(port);
  for (int i = 0; i < 100 && text.find("\nvesper_received_bytes_total 0\n") != text.npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    text = Scrape(port);
  }
  EXPECT_EQ(text.find("\nvesper_received_bytes_total 0\n"), std::string::npos) << "its Hello has been counted";
  for (const char* line : {"\nvesper_sessions 1\n", "\nvesper_sessions_total 1\n", "\nvesper_faults_total 0\n",
                           "\n# TYPE vesper_gpu_seconds_total counter\n", "\n# TYPE vesper_memory_bytes gauge\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
  // What the dashboard asks for is there.
  const std::string dashboard = Server::Read(VESPER_DASHBOARD);
  size_t found = 0;
  for (size_t at = 0; (at = dashboard.find("vesper_", at)) != dashboard.npos; ++at) {
    const std::string name = dashboard.substr(at, dashboard.find_first_not_of("abcdefghijklmnopqrstuvwxyz_", at) - at);
    EXPECT_NE(text.find("\n" + name + " "), std::string::npos) << name;
    ++found;
  }
  EXPECT_GT(found, 10u);
}

TEST_F(AdminTest, AnIdleClientMakesWay) {
  Start({"--max-idle", "1"});
  std::string error;
  const auto channel = Greeted(server_->UnixAddress(), &error);
  ASSERT_NE(channel, nullptr) << error;
  Message message;
  ASSERT_EQ(channel->Receive(&message, std::chrono::seconds(20)), ChannelStatus::kOk);
  EXPECT_EQ(message.kind, MessageKind::kGoodbye);
  EXPECT_EQ(std::string(message.payload.begin(), message.payload.end()),
            "over its limits: it has said nothing for more than 1 s (--max-idle)");
  EXPECT_TRUE(Ends(*channel));
}

TEST_F(AdminTest, EveryLineOfAJsonLogIsAnObject) {
  Start({"--log-format", "json"});
  std::string error;
  ASSERT_NE(Greeted(server_->UnixAddress(), &error), nullptr) << error;
  Hello hello;
  hello.fingerprint = kRegistryFingerprint;
  hello.program = "a \"quoted\\\" name";
  Welcome welcome;
  const auto channel = Connect(server_->UnixAddress(), 2000, &error);
  Greet(*channel, hello, &welcome, &error);
  ASSERT_TRUE(Server::WaitFor(server_->err(), "quoted"));
  const std::string log = server_->err();
  int status = -1;
  const std::string said = OutputOf(
      "/usr/bin/python3 -c 'import json,sys\nfor line in open(sys.argv[1]):\n"
      "    r = json.loads(line)\n    assert set(r) == {\"time\", \"level\", \"pid\", \"message\"}' " +
          log,
      &status);
  EXPECT_EQ(status, 0) << said << Server::Read(log);
  EXPECT_NE(Server::Read(log).find("a \\\"quoted\\\\\\\" name"), std::string::npos) << Server::Read(log);
}

}  // namespace
}  // namespace vesper::test
