// What a server is offered and refuses: clients that find none, clients of another registry, peers that speak no Vesper,
// that never read, that want too much. Played by hand over the real sockets where no client library would do it.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "generated/vk/commands.h"
#include "generated/wire/all.h"
#include "generated/wire/codecs.h"
#include "runtime/address.h"
#include "runtime/handshake.h"
#include "runtime/wire/control.h"
#include "runtime/wire/decoder.h"
#include "runtime/wire/encoder.h"
#include "runtime/wire/record.h"
#include "tests/integration/failure.h"

namespace vesper::test {
namespace {

namespace fs = std::filesystem;

// What a call prints to stderr.
std::string StderrOf(const std::function<void()>& body) {
  char path[] = "/tmp/vesper-stderr-XXXXXX";
  const int file = mkstemp(path);
  const int saved = dup(STDERR_FILENO);
  dup2(file, STDERR_FILENO);
  body();
  fflush(stderr);
  dup2(saved, STDERR_FILENO);
  close(saved);
  close(file);
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  unlink(path);
  return text.str();
}

// Lines of ours: the loader says what it thinks as well.
std::vector<std::string> LinesOfVesper(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("vesper: ")) lines.push_back(line);
  }
  return lines;
}

class ServiceTest : public FailureTest {
 protected:
  std::unique_ptr<Channel> Dial() {
    std::string error;
    const auto parsed = ParseAddress(address(), &error);
    std::unique_ptr<Channel> channel = Connect(*parsed, 2000, &error);
    EXPECT_NE(channel, nullptr) << error;
    return channel;
  }
  std::unique_ptr<Channel> DialAndGreet() {
    std::unique_ptr<Channel> channel = Dial();
    Hello hello;
    hello.fingerprint = kRegistryFingerprint;
    hello.program = "service_test";
    Welcome welcome;
    std::string error;
    EXPECT_TRUE(Greet(*channel, hello, &welcome, &error)) << error;
    return channel;
  }
  static void SendBytes(Channel& channel, uint64_t sequence, std::span<const uint8_t> bytes) {
    channel.Send(MessageKind::kBatch, sequence, {&bytes, 1});
  }
  // The reason that the server gives, or what the channel says.
  static std::string Farewell(Channel& channel) {
    Message message;
    const auto deadline = Clock::now() + std::chrono::seconds(20);
    while (Clock::now() < deadline) {
      const ChannelStatus status = channel.Receive(&message, milliseconds(1000));
      if (status == ChannelStatus::kTimeout) continue;
      if (status != ChannelStatus::kOk) return channel.error();
      if (message.kind == MessageKind::kGoodbye) return {message.payload.begin(), message.payload.end()};
    }
    return "nothing";
  }
};

TEST_P(ServiceTest, WithoutAServerOtherDriversStillWork) {
  const bool tcp = std::string(GetParam()) == "tcp";
  const std::string missing = tcp ? "tcp://127.0.0.1:9" : "unix:/tmp/vesper-nobody-" + std::to_string(getpid());
  const std::string manifest = IcdManifest();
  setenv("VESPER_SERVER", missing.c_str(), 1);
  setenv("VK_ICD_FILENAMES", manifest.c_str(), 1);
  setenv("VK_DRIVER_FILES", manifest.c_str(), 1);
  VkInstance instance = VK_NULL_HANDLE;
  VkInstanceCreateInfo info = {VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  const auto start = Clock::now();
  const std::string said = StderrOf([&] {
    EXPECT_EQ(vkCreateInstance(&info, nullptr, &instance), VK_ERROR_INCOMPATIBLE_DRIVER);
    EXPECT_EQ(vkCreateInstance(&info, nullptr, &instance), VK_ERROR_INCOMPATIBLE_DRIVER);
  });
  EXPECT_LT(Clock::now() - start, milliseconds(2000));
  const std::vector<std::string> lines = LinesOfVesper(said);
  ASSERT_EQ(lines.size(), 1u) << said;
  EXPECT_NE(lines[0].find(missing), std::string::npos) << lines[0];
  EXPECT_NE(lines[0].find("start vesper-server"), std::string::npos) << lines[0];
}

// On a port anybody may listen: no setting is no permission to use whoever does.
TEST_P(ServiceTest, WithoutASettingOnlyTheUsersOwnSocketIsTried) {
  std::string error;
  const Address port{.kind = Address::Kind::kTcp, .path = {}, .host = "127.0.0.1", .port = 7700};
  const auto stranger = Listener::Open(port, &error);
  if (stranger == nullptr) GTEST_SKIP() << "the port is taken: " << error;
  char folder[] = "/tmp/vesper-empty-XXXXXX";
  setenv("XDG_RUNTIME_DIR", mkdtemp(folder), 1);
  unsetenv("VESPER_SERVER");
  setenv("VK_ICD_FILENAMES", IcdManifest().c_str(), 1);
  setenv("VK_DRIVER_FILES", IcdManifest().c_str(), 1);
  VkInstance instance = VK_NULL_HANDLE;
  VkInstanceCreateInfo info = {VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  EXPECT_EQ(vkCreateInstance(&info, nullptr, &instance), VK_ERROR_INCOMPATIBLE_DRIVER);
  EXPECT_EQ(stranger->Accept(), -1) << "the client has connected";
  rmdir(folder);
}

// Runs tests/integration/ask_driver.cpp as `user` with settings of that user's; what it prints.
std::string AskDriver(const std::string& program, uid_t user, const std::string& server,
                      const std::string& statistics) {
  int ends[2];
  if (pipe(ends) != 0) return "no pipe";
  const std::string library = (fs::path(IcdManifest()).parent_path() / "../../../lib/libvulkan_vesper.so").string();
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    const std::string a = "VESPER_SERVER=" + server;
    const std::string b = "VESPER_STATS=" + statistics;
    const char* environment[] = {a.c_str(), b.c_str(), nullptr};
    const char* arguments[] = {program.c_str(), library.c_str(), nullptr};
    if (user != 0 && (setgid(user) != 0 || setuid(user) != 0)) _exit(3);
    execve(program.c_str(), const_cast<char**>(arguments), const_cast<char**>(environment));
    _exit(4);
  }
  close(ends[1]);
  std::string said;
  char piece[256];
  for (ssize_t got = 0; (got = read(ends[0], piece, sizeof(piece))) > 0;) said.append(piece, static_cast<size_t>(got));
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return said;
}

// A set-user-ID program that uses Vulkan neither sends its secrets to the server that its user names, nor overwrites the file.
TEST_P(ServiceTest, AProgramWithMoreRightsThanItsUserHeedsNoSettings) {
  if (geteuid() != 0) GTEST_SKIP() << "only root makes a program that runs as root for others";
  Start();
  constexpr uid_t kNobody = 65534;
  fs::permissions(server().folder(), fs::perms(0755));
  const std::string program = server().folder() + "/ask_driver";
  fs::copy_file(VESPER_ASK_DRIVER, program);
  const std::string precious = server().folder() + "/precious";
  const auto content = [&] {
    std::stringstream text;
    text << std::ifstream(precious).rdbuf();
    return text.str();
  };
  std::ofstream(precious) << "precious";
  fs::permissions(precious, fs::perms(0600));
  fs::permissions(program, fs::perms(04755));
  EXPECT_EQ(AskDriver(program, kNobody, address(), precious), "secure: no driver\n");
  EXPECT_EQ(content(), "precious");
  fs::permissions(program, fs::perms(0755));
  EXPECT_EQ(AskDriver(program, 0, address(), precious), "extensions\n") << "the same without the rights";
  EXPECT_NE(content(), "precious");
}

// Something accepts and says nothing: as good as no server.
TEST_P(ServiceTest, AServerThatNeverAnswersCostsFiveSeconds) {
  std::string error;
  Address here{.kind = Address::Kind::kTcp, .path = {}, .host = "127.0.0.1", .port = 0};
  char folder[] = "/tmp/vesper-mute-XXXXXX";
  if (std::string(GetParam()) == "unix")
    here = {.kind = Address::Kind::kUnix, .path = std::string(mkdtemp(folder)) + "/s", .host = {}, .port = 0};
  auto listener = Listener::Open(here, &error);
  ASSERT_NE(listener, nullptr) << error;
  const std::string manifest = IcdManifest();
  setenv("VESPER_SERVER", listener->address().ToString().c_str(), 1);
  setenv("VK_ICD_FILENAMES", manifest.c_str(), 1);
  setenv("VK_DRIVER_FILES", manifest.c_str(), 1);
  VkInstance instance = VK_NULL_HANDLE;
  VkInstanceCreateInfo info = {VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  const auto start = Clock::now();
  EXPECT_EQ(vkCreateInstance(&info, nullptr, &instance), VK_ERROR_INCOMPATIBLE_DRIVER);
  EXPECT_LT(Clock::now() - start, milliseconds(9000)) << "one attempt; what follows fails at once";
  listener.reset();
  rmdir(folder);
}

// A client whose registry numbers everything differently: what both know works by its name.
TEST_P(ServiceTest, AnotherRegistryIsServedByNames) {
  Start();
  std::vector<std::string> commands = {"vkFromTheFuture"};
  for (size_t i = kCommandCount; i-- > 0;) commands.emplace_back(kCommandNames[i]);
  std::vector<std::string> types = {"", "VkFromTheFuture"};
  for (size_t i = kHandleTypeCount; i-- > 1;) types.emplace_back(kHandleTypeNames[i]);
  const auto command_of = [&](Command command) {
    return static_cast<uint16_t>(kCommandCount - static_cast<size_t>(command));
  };
  const auto type_of = [&](HandleType type) {
    return static_cast<HandleType>(kHandleTypeCount + 1 - static_cast<size_t>(type));
  };
  const std::unique_ptr<Channel> channel = Dial();
  Hello hello;
  hello.fingerprint = kRegistryFingerprint ^ 1;
  Welcome welcome;
  std::string error;
  ASSERT_TRUE(Greet(*channel, hello, &welcome, &error)) << error;
  ASSERT_TRUE(welcome.names_wanted);
  hello.commands = commands;
  hello.handle_types = types;
  ASSERT_TRUE(Greet(*channel, hello, &welcome, &error)) << error;
  ASSERT_NE(std::find(welcome.commands.begin(), welcome.commands.end(), "vkCreateBuffer"), welcome.commands.end());

  DispatchableHeader instance{0, MakeObjectId(type_of(HandleType::kInstance), 1, 1)};
  DispatchableHeader physical_device{0, MakeObjectId(type_of(HandleType::kPhysicalDevice), 1, 2)};
  uint64_t sequence = 1;
  const auto ask = [&](Command command, uint16_t number, void* args) {
    wire::ByteBuffer bytes;
    const size_t mark = wire::BeginRecord(&bytes, number, wire::kWantsReply);
    wire::Encoder encoder(&bytes);
    wire::kCodecs[static_cast<size_t>(command)].encode_request(encoder, args);
    wire::EndRecord(&bytes, mark);
    SendBytes(*channel, sequence, {bytes.data(), bytes.size()});
    Message message;
    EXPECT_EQ(channel->Receive(&message, milliseconds(20000)), ChannelStatus::kOk);
    EXPECT_EQ(message.kind, MessageKind::kReply) << std::string(message.payload.begin(), message.payload.end());
    EXPECT_EQ(message.sequence, sequence++);
    const auto header = wire::Load<wire::ReplyHeader>(message.payload.data());
    if (header.kind != wire::ReplyKind::kAnswer) return header.kind;
    Arena arena(1 << 20);
    wire::Decoder decoder(std::span<const uint8_t>(message.payload).subspan(sizeof(header)), &arena);
    wire::kCodecs[static_cast<size_t>(command)].decode_reply(decoder, args);
    EXPECT_TRUE(decoder.ok()) << decoder.error();
    return header.kind;
  };
  VkInstanceCreateInfo info = {VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  auto instance_handle = reinterpret_cast<VkInstance>(&instance);
  wire::CreateInstanceArgs make{};
  make.pCreateInfo = &info;
  make.pInstance = &instance_handle;
  ASSERT_EQ(ask(Command::kCreateInstance, command_of(Command::kCreateInstance), &make), wire::ReplyKind::kAnswer);
  ASSERT_EQ(make.result, VK_SUCCESS);
  uint32_t count = 1;
  auto physical_handle = reinterpret_cast<VkPhysicalDevice>(&physical_device);
  wire::EnumeratePhysicalDevicesArgs enumerate{};
  enumerate.instance = reinterpret_cast<VkInstance>(&instance);
  enumerate.pPhysicalDeviceCount = &count;
  enumerate.pPhysicalDevices = &physical_handle;
  ask(Command::kEnumeratePhysicalDevices, command_of(Command::kEnumeratePhysicalDevices), &enumerate);
  ASSERT_EQ(count, 1u);
  VkPhysicalDeviceProperties properties{};
  wire::GetPhysicalDevicePropertiesArgs get{};
  get.physicalDevice = reinterpret_cast<VkPhysicalDevice>(&physical_device);
  get.pProperties = &properties;
  ask(Command::kGetPhysicalDeviceProperties, command_of(Command::kGetPhysicalDeviceProperties), &get);
  EXPECT_GE(properties.apiVersion, VK_API_VERSION_1_0);
  EXPECT_NE(properties.deviceName[0], '\0');
  // A command that the server does not know is refused and harms nothing.
  EXPECT_EQ(ask(Command::kGetPhysicalDeviceProperties, 0, &get), wire::ReplyKind::kRefused);
  ask(Command::kGetPhysicalDeviceProperties, command_of(Command::kGetPhysicalDeviceProperties), &get);
}

// Bytes that are no message, messages that are cut, batches that are no records: the session ends and says why.
TEST_P(ServiceTest, GarbageEndsItsOwnSessionOnly) {
  Start();
  Context good;
  std::mt19937 random(1);
  std::vector<uint8_t> noise(4000);
  for (uint8_t& byte : noise) byte = static_cast<uint8_t>(random());
  std::vector<std::vector<uint8_t>> batches = {{1}, {1, 2, 3, 4, 5, 6, 7}, noise, {0xff, 0x7f, 0, 0, 0, 0, 0, 0}};
  wire::ByteBuffer truncated;  // a record that says it is longer than its message
  const size_t mark = wire::BeginRecord(&truncated, 0, 0);
  truncated.Append(noise.data(), 64);
  wire::EndRecord(&truncated, mark);
  batches.emplace_back(truncated.data(), truncated.data() + truncated.size() - 8);
  for (const auto& batch : batches) {
    const std::unique_ptr<Channel> channel = DialAndGreet();
    SendBytes(*channel, 1, batch);
    const std::string why = Farewell(*channel);
    EXPECT_TRUE(why.starts_with("malformed: ")) << why;
    EXPECT_TRUE(LogSays(why));
  }
  RunCommands(good, [](VkCommandBuffer) {});
}

// Asks for much and reads nothing: the session ends at its limit, nobody else notices.
TEST_P(ServiceTest, AClientThatNeverReadsIsEnded) {
  RemoteServer::Options options;
  options.arguments = {"--max-unread", "1"};
  Start(options);
  Context good;
  const std::unique_ptr<Channel> silent = DialAndGreet();
  wire::ByteBuffer batch;
  for (int i = 0; i < 1000; ++i) {
    uint32_t count = 512;
    std::vector<VkExtensionProperties> extensions(count);
    wire::EnumerateInstanceExtensionPropertiesArgs args{};
    args.pPropertyCount = &count;
    args.pProperties = extensions.data();
    const size_t mark = wire::BeginRecord(&batch, static_cast<uint16_t>(Command::kEnumerateInstanceExtensionProperties),
                                          wire::kWantsReply);
    wire::Encoder encoder(&batch);
    wire::kCodecs[static_cast<size_t>(Command::kEnumerateInstanceExtensionProperties)].encode_request(encoder, &args);
    wire::EndRecord(&batch, mark);
  }
  std::thread sender([&] {
    for (uint64_t i = 0; i < 100; ++i) SendBytes(*silent, 1 + i * 1000, {batch.data(), batch.size()});
  });
  EXPECT_TRUE(LogSays("unread", milliseconds(90000)));
  sender.join();
  RunCommands(good, [](VkCommandBuffer) {});
}

// 64 MiB each way, at once (runtime/channel_test.cpp does it with 256): the application writes while the device's bytes come back.
TEST_P(ServiceTest, MuchInBothDirectionsAtOnce) {
  constexpr VkDeviceSize kBytes = 16 << 20;
  constexpr uint32_t kRounds = 4;
  Start();
  Context context;
  const VkBufferUsageFlags usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  const Buffer up = MakeBuffer(context, kBytes, usage, Placement::kHost);
  const Buffer there = MakeBuffer(context, kBytes, usage, Placement::kDevice);
  const Buffer down = MakeBuffer(context, kBytes, usage, Placement::kHost);
  Watched upload([&] {
    for (uint32_t round = 1; round <= kRounds; ++round) {
      std::ranges::fill(up.As<uint32_t>(), round * 3);
      RunCommands(context, [&](VkCommandBuffer commands) {
        const VkBufferCopy region = {0, 0, kBytes};
        vkCmdCopyBuffer(commands, up.handle, there.handle, 1, &region);
      });
    }
    return VK_SUCCESS;
  });
  Watched download([&] {
    for (uint32_t round = 1; round <= kRounds; ++round) {
      RunCommands(context,
                  [&](VkCommandBuffer commands) { vkCmdFillBuffer(commands, down.handle, 0, VK_WHOLE_SIZE, round); });
      const auto words = down.As<uint32_t>();
      if (std::ranges::count(words, round) != static_cast<ptrdiff_t>(words.size())) return VK_ERROR_UNKNOWN;
    }
    return VK_SUCCESS;
  });
  EXPECT_EQ(upload.Result(std::chrono::seconds(90)), VK_SUCCESS);
  EXPECT_EQ(download.Result(std::chrono::seconds(90)), VK_SUCCESS);
  RunCommands(context, [&](VkCommandBuffer commands) {
    const VkBufferCopy region = {0, 0, kBytes};
    vkCmdCopyBuffer(commands, there.handle, down.handle, 1, &region);
  });
  const auto words = down.As<uint32_t>();
  EXPECT_EQ(std::ranges::count(words, kRounds * 3), static_cast<ptrdiff_t>(words.size()));
}

TEST_P(ServiceTest, LimitsEndTheSessionThatExceedsThem) {
  RemoteServer::Options options;
  options.arguments = {"--max-message", "1", "--max-objects", "1024"};
  Start(options);
  Context good;
  {
    const std::unique_ptr<Channel> channel = DialAndGreet();
    const std::vector<uint8_t> large((1 << 20) + 8);
    SendBytes(*channel, 1, large);
    EXPECT_NE(Farewell(*channel).find("--max-message"), std::string::npos);
  }
  {
    // The client library knows the limit: what does not fit is an error, and the session goes on.
    Context greedy;
    std::vector<VkFence> fences;
    VkFenceCreateInfo info = {VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    VkResult result = VK_SUCCESS;
    for (int i = 0; i < 3000 && result == VK_SUCCESS; ++i) {
      VkFence fence = VK_NULL_HANDLE;
      result = vkCreateFence(greedy.device(), &info, nullptr, &fence);
      if (result == VK_SUCCESS) fences.push_back(fence);
    }
    EXPECT_EQ(result, VK_ERROR_OUT_OF_HOST_MEMORY);
    EXPECT_GT(fences.size(), 900u);
    EXPECT_LT(fences.size(), 1024u);
    for (const VkFence fence : fences) vkDestroyFence(greedy.device(), fence, nullptr);
    RunCommands(greedy, [](VkCommandBuffer) {});
  }
  RunCommands(good, [](VkCommandBuffer) {});
}

// The limit of --max-memory is the worker's alone.
TEST_P(ServiceTest, AWorkerWithoutMemoryIsOneLostClient) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizers' own memory is beyond any limit";
#endif
  RemoteServer::Options options;
  options.arguments = {"--max-memory", "700"};
  Start(options);
  Context good;
  {
    Context greedy;
    std::vector<Buffer> buffers;
    bool refused = false;
    for (int i = 0; i < 40 && !refused; ++i) {
      try {
        buffers.push_back(MakeBuffer(greedy, 64 << 20, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kDevice));
        RunCommands(greedy, [&](VkCommandBuffer commands) {
          vkCmdFillBuffer(commands, buffers.back().handle, 0, VK_WHOLE_SIZE, 1);
        });
      } catch (const VulkanError& error) {
        refused = true;
      }
    }
    EXPECT_TRUE(refused);
  }
  RunCommands(good, [](VkCommandBuffer) {});
}

// A supervisor that has no descriptor left turns clients away, says so, and serves again when there are some.
TEST_P(ServiceTest, WithoutDescriptorsClientsAreTurnedAway) {
  Start();
  rlimit before{};
  ASSERT_EQ(prlimit(server().pid(), RLIMIT_NOFILE, nullptr, &before), 0);
  rlim_t first_free = 0;
  while (
      fs::exists(fs::symlink_status("/proc/" + std::to_string(server().pid()) + "/fd/" + std::to_string(first_free)))) {
    ++first_free;
  }
  const rlimit none{first_free, before.rlim_max};
  ASSERT_EQ(prlimit(server().pid(), RLIMIT_NOFILE, &none, nullptr), 0);
  for (int i = 0; i < 3; ++i) {
    const std::unique_ptr<Channel> channel = Dial();
    Message message;
    if (channel != nullptr) {
      EXPECT_EQ(channel->Receive(&message, milliseconds(3000)), ChannelStatus::kClosed);
    }
  }
  EXPECT_TRUE(LogSays("no file descriptor is left"));
  const std::string log = server().Output();
  size_t lines = 0;
  for (size_t at = 0; (at = log.find("turned away", at)) != std::string::npos; ++at) ++lines;
  EXPECT_LE(lines, 3u) << "the supervisor spins";
  ASSERT_EQ(prlimit(server().pid(), RLIMIT_NOFILE, &before, nullptr), 0);
  ExpectServing();
}

// With our own driver among those that the worker's loader finds, the worker must not become its own client.
TEST_P(ServiceTest, AWorkerDoesNotLoadTheInstalledDriver) {
  RemoteServer::Options options;
  const char* driver = std::getenv("VESPER_TEST_DRIVER");
  options.driver =
      std::string(driver != nullptr ? driver : "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json") + ":" + IcdManifest();
  Start(options);
  setenv("VESPER_SERVER", address().c_str(), 1);
  Context context;
  uint32_t count = 0;
  VK_CHECK(vkEnumeratePhysicalDevices(context.instance(), &count, nullptr));
  EXPECT_EQ(count, 1u);
  std::ifstream maps("/proc/" + std::to_string(Workers().at(0)) + "/maps");
  std::stringstream text;
  text << maps.rdbuf();
  EXPECT_NE(text.str().find("vulkan_lvp"), std::string::npos);
  RunCommands(context, [](VkCommandBuffer) {});
  EXPECT_EQ(Workers().size(), 1u) << "a worker has begun a session of its own";
}

INSTANTIATE_TEST_SUITE_P(Transports, ServiceTest, testing::Values("unix", "tcp"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace vesper::test
