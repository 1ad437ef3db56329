// The files in which a client's pipelines are kept: what is taken for one, whose it is, and how much there may be.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <vector>

#include "runtime/sealed_file.h"
#include "server/base/limits.h"
#include "server/pipelines/pipeline_file.h"
#include "server/pipelines/pipeline_store.h"

namespace vesper::server {
namespace {

namespace fs = std::filesystem;

std::vector<uint8_t> Data(size_t size, uint8_t first = 1) {
  std::vector<uint8_t> data(size);
  std::iota(data.begin(), data.end(), first);
  return data;
}

PipelineKey Key(uint32_t device) { return {1, device, 3, {4, 5, 6}}; }

TEST(PipelineFileTest, ComesBackAsItWas) {
  for (const size_t size : {size_t{1}, size_t{4096}, size_t{1} << 20}) {
    const Descriptor file = MakePipelineFile(Key(1), Data(size));
    EXPECT_TRUE(IsPipelineFile(file));
    EXPECT_EQ(ReadPipelineFile(file, Key(1)), Data(size));
    EXPECT_EQ(ReadPipelineFile(file, Key(2)), std::nullopt) << "of another device";
  }
}

TEST(PipelineFileTest, NobodyChangesIt) {
  const Descriptor file = MakePipelineFile(Key(1), Data(100));
  EXPECT_EQ(pwrite(file.get(), "x", 1, 50), -1);
  EXPECT_EQ(ftruncate(file.get(), 10), -1);
  EXPECT_EQ(mmap(nullptr, 100, PROT_WRITE, MAP_SHARED, file.get(), 0), MAP_FAILED);
}

TEST(PipelineFileTest, OneMoreByteThanMayBeIsNone) {
  EXPECT_FALSE(MakePipelineFile(Key(1), std::vector<uint8_t>(limits::kMaxPipelineFile + 1)).valid());
  EXPECT_TRUE(MakePipelineFile(Key(1), std::vector<uint8_t>(limits::kMaxPipelineFile)).valid());
}

TEST(PipelineFileTest, WhatAWorkerMayStillChangeIsNone) {
  EXPECT_FALSE(IsPipelineFile(MakeSealedFile("test", 4096)));
  EXPECT_FALSE(IsPipelineFile(Descriptor(open("/dev/zero", O_RDONLY | O_CLOEXEC))));
  EXPECT_FALSE(IsPipelineFile(Descriptor()));
}

class PipelineStoreTest : public testing::Test {
 protected:
  PipelineStoreTest() {
    char path[] = "/tmp/vesper-pipelines-XXXXXX";
    folder_ = mkdtemp(path);
  }
  ~PipelineStoreTest() override { fs::remove_all(folder_); }
  std::vector<fs::path> Files() const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(folder_)) files.push_back(entry.path());
    return files;
  }

  std::string folder_;
};

TEST_F(PipelineStoreTest, EachClientAndDeviceHasItsOwn) {
  PipelineStore store(folder_);
  store.Keep("alice", Key(1), MakePipelineFile(Key(1), Data(10)));
  store.Keep("bob", Key(1), MakePipelineFile(Key(1), Data(20)));
  store.Keep("alice", Key(2), MakePipelineFile(Key(2), Data(30)));
  EXPECT_EQ(ReadPipelineFile(store.Find("alice", Key(1)), Key(1)), Data(10));
  EXPECT_EQ(ReadPipelineFile(store.Find("bob", Key(1)), Key(1)), Data(20));
  EXPECT_EQ(ReadPipelineFile(store.Find("alice", Key(2)), Key(2)), Data(30));
  EXPECT_FALSE(store.Find("bob", Key(2)).valid());
  EXPECT_FALSE(store.Find("../alice", Key(1)).valid());
  store.Keep("alice", Key(1), MakePipelineFile(Key(1), Data(11)));
  EXPECT_EQ(ReadPipelineFile(store.Find("alice", Key(1)), Key(1)), Data(11));
  store.Keep("alice", Key(1), {});
  EXPECT_FALSE(store.Find("alice", Key(1)).valid());
}

TEST_F(PipelineStoreTest, EveryFlippedBitAndEveryCutIsNoticed) {
  PipelineStore store(folder_);
  store.Keep("alice", Key(1), MakePipelineFile(Key(1), Data(40)));
  const std::string path = Files().at(0);
  const auto size = static_cast<off_t>(fs::file_size(path));
  const Descriptor file(open(path.c_str(), O_RDWR | O_CLOEXEC));
  int harmless = 0;
  for (off_t at = 0; at < size; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      uint8_t byte = 0;
      ASSERT_EQ(pread(file.get(), &byte, 1, at), 1);
      const auto flipped = static_cast<uint8_t>(byte ^ (1 << bit));
      ASSERT_EQ(pwrite(file.get(), &flipped, 1, at), 1);
      if (ReadPipelineFile(store.Find("alice", Key(1)), Key(1))) ++harmless;
      ASSERT_EQ(pwrite(file.get(), &byte, 1, at), 1);
    }
  }
  EXPECT_EQ(harmless, 32) << "the bits of a word that says nothing";
  EXPECT_EQ(ReadPipelineFile(store.Find("alice", Key(1)), Key(1)), Data(40));
  for (off_t left = size - 1; left >= 0; --left) {
    ASSERT_EQ(ftruncate(file.get(), left), 0);
    EXPECT_EQ(ReadPipelineFile(store.Find("alice", Key(1)), Key(1)), std::nullopt) << left;
  }
}

TEST_F(PipelineStoreTest, WhatIsNoFileOfOursChangesNothing) {
  PipelineStore store(folder_);
  store.Keep("alice", Key(1), MakePipelineFile(Key(1), Data(10)));
  store.Keep("alice", Key(1), MakeSealedFile("test", 4096));
  store.Keep("alice", Key(1), Descriptor(open("/dev/zero", O_RDONLY | O_CLOEXEC)));
  EXPECT_EQ(ReadPipelineFile(store.Find("alice", Key(1)), Key(1)), Data(10));
  EXPECT_EQ(Files().size(), 1u);
}

// Files of the store's own kind, which take no room on the disk.
TEST_F(PipelineStoreTest, WhatWasKeptFirstMakesWay) {
  PipelineStore store(folder_);
  const auto count = static_cast<uint32_t>(limits::kMaxPipelineFolder / limits::kMaxPipelineFile);
  for (uint32_t i = 0; i < count; ++i) {
    store.Keep("alice", Key(i), MakePipelineFile(Key(i), Data(8)));
    for (const fs::path& path : Files()) {
      if (fs::file_size(path) < limits::kMaxPipelineFile) fs::resize_file(path, limits::kMaxPipelineFile);
    }
    const auto time = fs::file_time_type::clock::now() + std::chrono::seconds(static_cast<int>(i) - 1000);
    for (const fs::path& path : Files()) {
      if (fs::last_write_time(path) > fs::file_time_type::clock::now() - std::chrono::seconds(100)) {
        fs::last_write_time(path, time);
      }
    }
  }
  EXPECT_EQ(Files().size(), count);
  store.Keep("bob", Key(1), MakePipelineFile(Key(1), Data(8)));
  EXPECT_EQ(Files().size(), count) << "one went for the one that came";
  EXPECT_FALSE(store.Find("alice", Key(0)).valid());
  EXPECT_TRUE(store.Find("alice", Key(1)).valid());
  EXPECT_TRUE(store.Find("bob", Key(1)).valid());
}

TEST(PipelineOwnerTest, IsWhoTheClientHasShownToBe) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  EXPECT_EQ(PipelineOwner("alice", pair[0]), "alice");
  EXPECT_EQ(PipelineOwner("", pair[0]), "user " + std::to_string(geteuid()));
  close(pair[0]);
  close(pair[1]);
}

}  // namespace
}  // namespace vesper::server
