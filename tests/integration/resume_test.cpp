// A connection that breaks costs a program time and nothing else: what it uploads, computes, waits for and reads is the same; a session
// that is gone is known to be gone in time; nobody else can have it.
#include <signal.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <random>

#include "tests/integration/failure.h"
#include "tests/support/cut_line.h"
#include "tests/support/swapchain.h"

namespace vesper::test {
namespace {

constexpr VkDeviceSize kBytes = 200'000;

// FNV-1a.
void Digest(uint64_t* digest, const void* data, size_t bytes) {
  const auto* at = static_cast<const uint8_t*>(data);
  for (size_t i = 0; i < bytes; ++i) *digest = (*digest ^ at[i]) * 0x100000001b3;
}

// A program with something of everything that travels.
class Program {
 public:
  explicit Program(Context* context)
      : context_(*context),
        up_(MakeBuffer(*context, kBytes, VK_BUFFER_USAGE_TRANSFER_SRC_BIT, Placement::kHost)),
        there_(MakeBuffer(*context, kBytes, VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT,
                          Placement::kDevice)),
        down_(MakeBuffer(*context, kBytes, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost)),
        timeline_(MakeTimeline(*context)),
        pool_(MakeCommandPool(*context)) {
    VkHeadlessSurfaceCreateInfoEXT info = {VK_STRUCTURE_TYPE_HEADLESS_SURFACE_CREATE_INFO_EXT};
    const auto create = context_.InstanceFunction<PFN_vkCreateHeadlessSurfaceEXT>("vkCreateHeadlessSurfaceEXT");
    VK_CHECK(create(context_.instance(), &info, nullptr, &surface_));
    swapchain_ = std::make_unique<Swapchain>(context_, surface_, SwapchainOptions{});
  }
  ~Program() {
    swapchain_.reset();
    vkDestroySurfaceKHR(context_.instance(), surface_, nullptr);
  }

  // What came of it, which is the same in every run.
  uint64_t Round(uint32_t round) {
    uint64_t digest = 0xcbf29ce484222325;
    CopyThereAndBack(round, &digest);
    Clear(round, &digest);
    WaitForTheHost(round);
    const auto colour = static_cast<uint8_t>(round);
    EXPECT_EQ(swapchain_->Frame({colour, 0, 0}, {0, colour, 0}), VK_SUCCESS);
    return digest;
  }

 private:
  void CopyThereAndBack(uint32_t round, uint64_t* digest) {
    std::mt19937 random(round);
    for (uint32_t& word : up_.As<uint32_t>()) word = static_cast<uint32_t>(random());
    const VkBufferCopy whole = {0, 0, kBytes};
    RunCommands(context_, [&](VkCommandBuffer commands) {
      vkCmdCopyBuffer(commands, up_.handle, there_.handle, 1, &whole);
      FullBarrier(commands);
      vkCmdFillBuffer(commands, there_.handle, 4096, 1000, round);
      FullBarrier(commands);
      vkCmdCopyBuffer(commands, there_.handle, down_.handle, 1, &whole);
      FullBarrier(commands);
    });
    const auto sent = up_.As<uint32_t>(), came = down_.As<uint32_t>();
    size_t wrong = 0;
    for (size_t i = 0; i < came.size(); ++i) wrong += came[i] != (i >= 1024 && i < 1274 ? round : sent[i]) ? 1 : 0;
    EXPECT_EQ(wrong, 0u) << "of round " << round;
    Digest(digest, down_.mapped, kBytes);
  }
  void Clear(uint32_t round, uint64_t* digest) {
    const Image image =
        MakeImage(context_, VK_FORMAT_R8G8B8A8_UNORM, 64, 64,
                  VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT | VK_IMAGE_USAGE_SAMPLED_BIT);
    RunCommands(context_, [&](VkCommandBuffer commands) {
      ChangeLayout(commands, image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
      const VkClearColorValue colour = {.float32 = {static_cast<float>(round % 256) / 255, 0.2f, 0.4f, 1}};
      const VkImageSubresourceRange all = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
      vkCmdClearColorImage(commands, image.handle, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, &colour, 1, &all);
      ChangeLayout(commands, image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
    });
    const std::vector<uint8_t> texels = ReadTexels(context_, image, 4);
    EXPECT_EQ(texels[0], round % 256);
    Digest(digest, texels.data(), texels.size());
  }
  // A submit that waits for this thread, and the thread for the submit.
  void WaitForTheHost(uint32_t round) {
    const uint64_t begin = 2 * uint64_t{round} + 1, end = begin + 1;
    VkTimelineSemaphoreSubmitInfo values = {VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
    values.waitSemaphoreValueCount = values.signalSemaphoreValueCount = 1;
    values.pWaitSemaphoreValues = &begin;
    values.pSignalSemaphoreValues = &end;
    const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    VkSubmitInfo submit = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
    submit.pNext = &values;
    submit.waitSemaphoreCount = submit.signalSemaphoreCount = 1;
    submit.pWaitSemaphores = submit.pSignalSemaphores = timeline_.address();
    submit.pWaitDstStageMask = &stage;
    VK_CHECK(vkQueueSubmit(context_.queue(), 1, &submit, VK_NULL_HANDLE));
    VkSemaphoreSignalInfo signal = {VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO};
    signal.semaphore = timeline_;
    signal.value = begin;
    VK_CHECK(vkSignalSemaphore(context_.device(), &signal));
    VkSemaphoreWaitInfo wait = {VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO};
    wait.semaphoreCount = 1;
    wait.pSemaphores = timeline_.address();
    wait.pValues = &end;
    VK_CHECK(vkWaitSemaphores(context_.device(), &wait, kWaitNanoseconds));
  }

  Context& context_;
  const Buffer up_, there_, down_;
  const Owned<VkSemaphore> timeline_;
  const Owned<VkCommandPool> pool_;
  VkSurfaceKHR surface_ = VK_NULL_HANDLE;
  std::unique_ptr<Swapchain> swapchain_;
};

ContextOptions WithFrames() {
  ContextOptions options;
  options.instance_extensions = {VK_KHR_SURFACE_EXTENSION_NAME, VK_EXT_HEADLESS_SURFACE_EXTENSION_NAME};
  options.device_extensions = {VK_KHR_SWAPCHAIN_EXTENSION_NAME};
  return options;
}

class ResumeTest : public FailureTest {
 protected:
  // A server to which this process comes by a line.
  void StartBehindALine(const std::vector<std::string>& arguments) {
    Start({.arguments = arguments});
    std::string error;
    line_ = CutLine::To(address(), &error);
    ASSERT_NE(line_, nullptr) << error;
    setenv("VESPER_SERVER", line_->address().c_str(), 1);
  }
  void TearDown() override {
    unsetenv("VESPER_GRACE");
    if (!address().empty()) setenv("VESPER_SERVER", address().c_str(), 1);
    FailureTest::TearDown();
    line_.reset();
  }
  // Until a call of a device that is lost says so.
  void ExpectLost(Context& context, milliseconds within) {
    Watched call([&] {
      for (;;) {
        const VkResult result = vkDeviceWaitIdle(context.device());
        if (result != VK_SUCCESS) return result;
      }
    });
    EXPECT_EQ(call.Result(within), VK_ERROR_DEVICE_LOST);
  }

  std::unique_ptr<CutLine> line_;
};

// As many cuts as VESPER_CUTS says, else 40.
TEST_P(ResumeTest, ALineThatIsCutAgainAndAgainCostsOnlyTime) {
  const char* said = std::getenv("VESPER_CUTS");
  const uint64_t cuts = said == nullptr ? 40 : std::strtoull(said, nullptr, 10);
  StartBehindALine({"--resume-for", "20"});
  std::vector<uint64_t> digests;
  {
    Context context(WithFrames());
    Program program(&context);
    line_->CutAtRandom(12, 300'000);
    line_->Cut();
    while (line_->cuts() < cuts) digests.push_back(program.Round(static_cast<uint32_t>(digests.size())));
    line_->Mend();
  }
  EXPECT_GE(line_->connections(), cuts) << "each was followed by another";
  EXPECT_TRUE(LogSays("goes on over another connection"));
  setenv("VESPER_SERVER", address().c_str(), 1);
  Context context(WithFrames());
  Program program(&context);
  for (uint32_t round = 0; round < digests.size(); ++round) EXPECT_EQ(program.Round(round), digests[round]) << round;
}

TEST_P(ResumeTest, WhoWaitsWhileTheLineIsDownWaitsOn) {
  StartBehindALine({"--resume-for", "20"});
  Context context;
  const Owned<VkCommandPool> pool = MakeCommandPool(context);
  VkEventCreateInfo info = {VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
  const auto event = Create<VkEvent>(context.device(), vkCreateEvent, vkDestroyEvent, info);
  const Owned<VkFence> fence = MakeFence(context);
  SubmitEndless(context, pool, event, fence);
  Watched wait([&] { return vkWaitForFences(context.device(), 1, fence.address(), VK_TRUE, UINT64_MAX); });
  for (const uint64_t before : {1u, 2u, 3u}) {
    EXPECT_EQ(line_->connections(), before);
    line_->Cut();
    EXPECT_TRUE(Within(milliseconds(5000), [&] { return line_->connections() == before + 1; }));
  }
  EXPECT_EQ(wait.Result(milliseconds(50)), VK_RESULT_MAX_ENUM);
  VK_CHECK(vkSetEvent(context.device(), event));
  EXPECT_EQ(wait.Result(milliseconds(10'000)), VK_SUCCESS);
  EXPECT_EQ(Workers().size(), 1u) << "the same session";
}

TEST_P(ResumeTest, ASessionThatIsGoneIsKnownToBeGone) {
  StartBehindALine({"--resume-for", "20"});
  Context context;
  const std::vector<pid_t> workers = Workers();
  ASSERT_EQ(workers.size(), 1u);
  line_->CutAt(1);  // nobody gets through meanwhile
  line_->Cut();
  kill(workers.front(), SIGKILL);
  EXPECT_TRUE(LogSays("ended with signal 9"));
  line_->Mend();
  ExpectLost(context, 2 * kNoticed);
}

TEST_P(ResumeTest, AClientThatStaysAwayIsNotWaitedForForEver) {
  setenv("VESPER_GRACE", "2", 1);
  StartBehindALine({"--resume-for", "1"});
  Context context;
  line_->Close();
  line_->Cut();
  EXPECT_TRUE(LogSays("nobody came to resume the session within 1000 ms"));
  EXPECT_TRUE(Within(milliseconds(5000), [&] { return Workers().empty(); }));
  ExpectLost(context, milliseconds(3000));
}

TEST_P(ResumeTest, AClientThatFindsNobodyIsLostAfterTheGracePeriod) {
  setenv("VESPER_GRACE", "1", 1);
  StartBehindALine({"--resume-for", "3"});
  Context context;
  line_->Close();
  line_->Cut();
  ExpectLost(context, milliseconds(2000));
}

TEST_P(ResumeTest, AServerThatIsKilledMeanwhileIsNoLongerSought) {
  StartBehindALine({"--resume-for", "20"});
  setenv("VESPER_SERVER", address().c_str(), 1);
  Context context;
  kill(server().pid(), SIGKILL);
  ExpectLost(context, kNoticed);
  EXPECT_EQ(server().Stop(), 128 + SIGKILL);
}

// Neither end is told: a router has forgotten the connection, and drops what comes.
TEST_P(ResumeTest, ALineThatForgetsTheConnectionCostsOnlyTime) {
  setenv("VESPER_GRACE", "4", 1);
  StartBehindALine({"--resume-for", "20"});
  uint64_t digests[3] = {};
  {
    Context context(WithFrames());
    Program program(&context);
    for (uint32_t i = 0; i < 3; ++i) {
      if (i != 0) line_->Forget();
      Watched round([&, i] {
        digests[i] = program.Round(i);
        return VK_SUCCESS;
      });
      EXPECT_EQ(round.Result(milliseconds(20'000)), VK_SUCCESS);
      EXPECT_EQ(line_->connections(), i + 1);
    }
    EXPECT_EQ(Workers().size(), 1u) << "the same session";
  }
  EXPECT_TRUE(LogSays("goes on over another connection"));
  setenv("VESPER_SERVER", address().c_str(), 1);
  Context context(WithFrames());
  Program program(&context);
  for (uint32_t i = 0; i < 3; ++i) EXPECT_EQ(program.Round(i), digests[i]) << i;
}

TEST_P(ResumeTest, ALineThatForgetsWhateverComesIsALossAfterTheGracePeriod) {
  setenv("VESPER_GRACE", "2", 1);
  StartBehindALine({"--resume-for", "2"});
  Context context;
  line_->ForgetAll();
  ExpectLost(context, milliseconds(3000));
  EXPECT_GE(line_->connections(), 2u) << "another connection was tried";
}

// What `vesper ps` says of a server whose admin socket is there.
std::string Listed(const std::string& admin) {
  std::string text;
  FILE* output = popen((std::string(VESPER_TOOL) + " ps --admin " + admin + " 2>&1").c_str(), "re");
  char line[1024];
  while (output != nullptr && std::fgets(line, sizeof(line), output) != nullptr) text += line;
  if (output != nullptr) pclose(output);
  return text;
}

TEST_P(ResumeTest, ASessionWhoseClientIsWaitedForMakesWayForAnother) {
  if (std::string(GetParam()) == "vsock") GTEST_SKIP() << "a line of vsock is closed, not torn";
  char pattern[] = "/tmp/vesper-places-XXXXXX";
  const std::string folder = mkdtemp(pattern), admin = "unix:" + folder + "/admin.sock";
  setenv("VESPER_GRACE", "3", 1);
  StartBehindALine({"--resume-for", "600", "--max-sessions", "2", "--max-clients", "2", "--admin", admin});
  Context first;
  setenv("VESPER_SERVER", address().c_str(), 1);
  Context stays;
  EXPECT_EQ(Listed(admin).find("broken"), std::string::npos);
  line_->Close();
  line_->Tear();
  EXPECT_TRUE(Within(milliseconds(10'000), [&] { return Listed(admin).find("broken ") != std::string::npos; }))
      << Listed(admin);
  EXPECT_EQ(Workers().size(), 2u) << "nobody wants its place";
  ExpectServing();
  EXPECT_TRUE(LogSays("session 1 is ended: its connection broke"));
  EXPECT_EQ(Listed(admin).find("broken"), std::string::npos) << Listed(admin);
  VK_CHECK(vkDeviceWaitIdle(stays.device()));
  ExpectLost(first, milliseconds(5000));
  std::filesystem::remove_all(folder);
}

TEST_P(ResumeTest, WithoutResumingABreakIsALoss) {
  StartBehindALine({"--resume-for", "0"});
  Context context;
  line_->Cut();
  ExpectLost(context, kNoticed);
  EXPECT_TRUE(Within(milliseconds(5000), [&] { return Workers().empty(); }));
}

INSTANTIATE_TEST_SUITE_P(Transports, ResumeTest, testing::Values("tcp", "tls", "vsock"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace vesper::test
