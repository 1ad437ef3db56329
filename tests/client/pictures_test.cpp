// Protects: what a server says of pictures (VESPER_FRAMES=near) is believed only as far as it was asked for and fits; anything else
// ends the session and touches nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/client/fixture.h"

namespace vesper::client {
namespace {

constexpr uint32_t kWidth = 100, kHeight = 80, kCount = 2;
constexpr uint64_t kStride = 4 * kWidth * kHeight + 64;

class PicturesTest : public ClientFixture {
 protected:
  void SetUp() override {
    if (JpegReader::Make() == nullptr) GTEST_SKIP() << "no libturbojpeg here";
    VkMemoryAllocateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
    info.allocationSize = kCount * kStride;
    EXPECT_EQ(overrides::AllocateMemory(device(), &info, nullptr, &memory_), VK_SUCCESS);
    void* data = nullptr;
    EXPECT_EQ(overrides::MapMemory(device(), memory_, 0, VK_WHOLE_SIZE, 0, &data), VK_SUCCESS);
    pixels_ = static_cast<const uint8_t*>(data);
  }
  bool Ask() {
    return session_.AskForNear({IdOf(memory_), kStride, kCount, kWidth, kHeight, 0});
  }
  wire::PictureTile Tile() const { return {IdOf(memory_), 1, 64, 64, 36, 16, 100}; }
  // Sends a part whose JPEG is 100 bytes of nothing, and waits for what becomes of it.
  bool Ends(const wire::PictureTile& tile, size_t size = sizeof(wire::PictureTile) + 100) {
    std::vector<uint8_t> body(sizeof(tile) + 100, 0x5a);
    std::memcpy(body.data(), &tile, sizeof(tile));
    server_.SendEvent(wire::EventKind::kPicture, body.data(), size);
    for (int i = 0; i < 500 && !session_.lost(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return session_.lost() && std::all_of(pixels_, pixels_ + kCount * kStride, [](uint8_t byte) { return byte == 0; });
  }

  VkDeviceMemory memory_ = VK_NULL_HANDLE;
  const uint8_t* pixels_ = nullptr;
};

TEST_F(PicturesTest, AreAskedFor) {
  EXPECT_TRUE(Ask());
  const auto records = server_.Records(static_cast<uint16_t>(wire::Control::kPictures));
  ASSERT_EQ(records.size(), 1u);
  const auto asked = wire::Load<wire::PictureMemory>(records[0].body.data());
  EXPECT_EQ(asked.memory, IdOf(memory_));
  EXPECT_EQ(asked.stride, kStride);
  EXPECT_EQ(asked.width, kWidth);
}

TEST_F(PicturesTest, NoJpeg) {
  EXPECT_TRUE(Ask());
  EXPECT_TRUE(Ends(Tile()));
}

TEST_F(PicturesTest, ShorterThanItSays) {
  EXPECT_TRUE(Ask());
  EXPECT_TRUE(Ends(Tile(), sizeof(wire::PictureTile) + 99));
}

TEST_F(PicturesTest, NotEvenAHead) {
  EXPECT_TRUE(Ask());
  EXPECT_TRUE(Ends(Tile(), 8));
}

class PictureOutsideTest : public PicturesTest, public testing::WithParamInterface<wire::PictureTile> {};

TEST_P(PictureOutsideTest, Ends) {
  EXPECT_TRUE(Ask());
  wire::PictureTile tile = GetParam();
  tile.memory = IdOf(memory_);
  EXPECT_TRUE(Ends(tile));
}

// Another picture, and beyond each side, with sums that overflow.
INSTANTIATE_TEST_SUITE_P(, PictureOutsideTest,
                         testing::Values(wire::PictureTile{0, 2, 0, 0, 64, 64, 100},
                                         wire::PictureTile{0, 0, 64, 0, 37, 64, 100},
                                         wire::PictureTile{0, 0, 0, 64, 64, 17, 100},
                                         wire::PictureTile{0, 0, UINT32_MAX, 0, 2, 2, 100},
                                         wire::PictureTile{0, 0, 0, UINT32_MAX, 2, 2, 100},
                                         wire::PictureTile{0, 0, 0, 0, UINT32_MAX, 2, 100},
                                         wire::PictureTile{0, 0, 0, 0, 64, 65, 100},
                                         wire::PictureTile{0, 0, 0, 0, 0, 64, 100}));

// What nobody asked for (any more) changes nothing.
TEST_F(PicturesTest, NotAskedFor) {
  const wire::PictureTile tile = Tile();
  std::vector<uint8_t> body(sizeof(tile) + 100);
  std::memcpy(body.data(), &tile, sizeof(tile));
  server_.SendEvent(wire::EventKind::kPicture, body.data(), body.size());
  EXPECT_TRUE(session_.AskControl(wire::Control::kHeartbeat, nullptr, 0));
  EXPECT_FALSE(session_.lost());
  EXPECT_TRUE(std::all_of(pixels_, pixels_ + kCount * kStride, [](uint8_t byte) { return byte == 0; }));
}

}  // namespace
}  // namespace vesper::client
