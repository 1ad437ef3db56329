// Protects what the ids in one command may do: become handles, null, an inert command or the end of
// the session.
#include "server/handles/command_handles.h"

#include <gtest/gtest.h>

#include <array>

namespace vesper::server {
namespace {

using wire::HandleUse;

constexpr int kContext = 0;

class CommandHandlesTest : public testing::Test {
 protected:
  CommandHandlesTest() {
    handles_.Begin({});
    EXPECT_TRUE(handles_.NewIds(HandleType::kDevice, &device_, 1));
    handles_.EndDecoding();
    handles_.set_new_context(&kContext);
    const uint64_t driver_device = 0xd0;
    handles_.Adopt(HandleType::kDevice, &device_, &driver_device, 1);
    handles_.Finish(true, VK_SUCCESS);
  }

  // Starts a command on the device.
  void Begin(CommandHandles::Options options = {}) {
    handles_.Begin(options);
    uint64_t handle = 0;
    ASSERT_TRUE(handles_.FromWire(HandleType::kDevice, device_, HandleUse::kRequired, &handle));
    ASSERT_EQ(handle, 0xd0u);
    ASSERT_EQ(handles_.context(), &kContext);
  }
  // Makes one object as an asynchronous command would; 0 fails.
  ObjectId Make(HandleType type, uint32_t slot, uint64_t handle, ObjectId pool = kNullObject,
                VkResult result = VK_ERROR_OUT_OF_DEVICE_MEMORY) {
    const ObjectId id = MakeObjectId(type, 1, slot);
    Begin();
    uint64_t unused = 0;
    if (pool != kNullObject) handles_.FromWire(TypeOf(pool), pool, HandleUse::kRequired, &unused);
    EXPECT_TRUE(handles_.NewIds(type, &id, 1));
    handles_.EndDecoding();
    handles_.Adopt(type, &id, &handle, 1);
    handles_.Finish(false, handle == 0 ? result : VK_SUCCESS);
    return id;
  }

  HandleTable table_;
  CommandHandles handles_{&table_};
  const ObjectId device_ = MakeObjectId(HandleType::kDevice, 1, 1);
  uint64_t handle_ = 0;
};

TEST_F(CommandHandlesTest, IdsBecomeTheDriversHandles) {
  const ObjectId buffer = Make(HandleType::kBuffer, 5, 0xb0);
  Begin();
  EXPECT_TRUE(handles_.FromWire(HandleType::kBuffer, buffer, HandleUse::kRequired, &handle_));
  EXPECT_EQ(handle_, 0xb0u);
  EXPECT_FALSE(handles_.inert());
  EXPECT_EQ(handles_.ToWire(HandleType::kDevice, 0xd0), device_);
  EXPECT_EQ(handles_.Named(HandleType::kBuffer), buffer);
}

TEST_F(CommandHandlesTest, AFailedCreationMakesItsUsersInertWithItsResult) {
  const ObjectId buffer = Make(HandleType::kBuffer, 5, 0);
  Begin();
  EXPECT_TRUE(handles_.FromWire(HandleType::kBuffer, buffer, HandleUse::kRequired, &handle_));
  EXPECT_EQ(handle_, 0u);
  EXPECT_TRUE(handles_.inert());
  EXPECT_EQ(handles_.result(), VK_ERROR_OUT_OF_DEVICE_MEMORY);
}

TEST_F(CommandHandlesTest, ArraysKeepResultsPerElement) {
  const std::array<ObjectId, 3> ids = {MakeObjectId(HandleType::kPipeline, 1, 5),
                                       MakeObjectId(HandleType::kPipeline, 1, 6),
                                       MakeObjectId(HandleType::kPipeline, 1, 7)};
  const std::array<uint64_t, 3> made = {0x1, 0, 0x3};
  Begin();
  ASSERT_TRUE(handles_.NewIds(HandleType::kPipeline, ids.data(), 3));
  handles_.EndDecoding();
  handles_.Adopt(HandleType::kPipeline, ids.data(), made.data(), 3);
  handles_.Finish(false, VK_ERROR_OUT_OF_HOST_MEMORY);
  const HandleTable::Lock lock = table_.Acquire();
  EXPECT_EQ(table_.Find(lock, ids[0])->state, ObjectState::kLive);
  EXPECT_EQ(table_.Find(lock, ids[1])->state, ObjectState::kFailed);
  EXPECT_EQ(table_.Find(lock, ids[1])->result, VK_ERROR_OUT_OF_HOST_MEMORY);
  EXPECT_EQ(table_.Find(lock, ids[2])->state, ObjectState::kLive);
}

TEST_F(CommandHandlesTest, AFailureThatTheClientHearsOfLeavesNoTombstone) {
  const ObjectId id = MakeObjectId(HandleType::kDeviceMemory, 1, 5);
  const uint64_t none = 0;
  Begin();
  ASSERT_TRUE(handles_.NewIds(HandleType::kDeviceMemory, &id, 1));
  handles_.EndDecoding();
  handles_.Adopt(HandleType::kDeviceMemory, &id, &none, 1);
  handles_.Finish(true, VK_ERROR_OUT_OF_DEVICE_MEMORY);
  const HandleTable::Lock lock = table_.Acquire();
  EXPECT_EQ(table_.live(lock), 1u);
}

TEST_F(CommandHandlesTest, DestroyingATombstoneIsSilent) {
  const ObjectId buffer = Make(HandleType::kBuffer, 5, 0);
  Begin({.destroys = true});
  EXPECT_TRUE(handles_.FromWire(HandleType::kBuffer, buffer, HandleUse::kOptional, &handle_));
  handles_.EndDecoding();
  EXPECT_FALSE(handles_.inert());
  EXPECT_EQ(handle_, 0u);
  handles_.ForgetFailed();
  const HandleTable::Lock lock = table_.Acquire();
  EXPECT_EQ(table_.Find(lock, buffer), nullptr);
}

TEST_F(CommandHandlesTest, StaleIdsAreNullOnlyWhereTheyMayBeIgnored) {
  const ObjectId sampler = Make(HandleType::kSampler, 5, 0x50);
  handles_.Forget(HandleType::kSampler, sampler);
  Begin();
  EXPECT_TRUE(handles_.FromWire(HandleType::kSampler, sampler, HandleUse::kIgnorable, &handle_));
  EXPECT_EQ(handle_, 0u);
  EXPECT_FALSE(handles_.inert());
  EXPECT_TRUE(handles_.FromWire(HandleType::kSampler, 0xdeadbeefdeadbeef, HandleUse::kIgnorable, &handle_));
  EXPECT_FALSE(handles_.inert());
  EXPECT_TRUE(handles_.FromWire(HandleType::kSampler, sampler, HandleUse::kOptional, &handle_));
  EXPECT_TRUE(handles_.inert());
  EXPECT_NE(handles_.reason().find("does not exist"), std::string::npos);
}

TEST_F(CommandHandlesTest, IdsThatNobodyCanMintAreMalformed) {
  const ObjectId buffer = Make(HandleType::kBuffer, 5, 0xb0);
  Begin();
  EXPECT_FALSE(handles_.FromWire(HandleType::kImage, buffer, HandleUse::kRequired, &handle_)) << "a buffer as an image";
  EXPECT_FALSE(handles_.FromWire(HandleType::kBuffer, 0xdeadbeef, HandleUse::kRequired, &handle_));
  EXPECT_FALSE(
      handles_.FromWire(HandleType::kBuffer, MakeObjectId(HandleType::kBuffer, 0, 5), HandleUse::kOptional, &handle_));
  EXPECT_FALSE(handles_.FromWire(HandleType::kBuffer, MakeObjectId(HandleType::kBuffer, 1, HandleTable::kMaxSlots),
                                 HandleUse::kRequired, &handle_));
  const ObjectId hostile = MakeObjectId(HandleType::kBuffer, 1, 0xffffffff);
  EXPECT_FALSE(handles_.NewIds(HandleType::kBuffer, &hostile, 1));
}

// A client that makes objects in one slot for ever would be beyond any limit of their number.
TEST_F(CommandHandlesTest, ASlotIsUsedAgainOnceItsObjectIsDestroyed) {
  const ObjectId buffer = Make(HandleType::kBuffer, 5, 0xb0);
  const ObjectId next = MakeObjectId(HandleType::kFence, 2, 5);
  Begin();
  EXPECT_FALSE(handles_.NewIds(HandleType::kFence, &next, 1)) << "the buffer lives";
  EXPECT_NE(handles_.refused(), "");
  EXPECT_FALSE(handles_.NewIds(HandleType::kBuffer, &buffer, 1)) << "it is the buffer";
  handles_.EndDecoding();
  {
    const HandleTable::Lock lock = table_.Acquire();
    table_.Pin(lock, buffer);
  }
  Begin();
  EXPECT_FALSE(handles_.NewIds(HandleType::kFence, &next, 1)) << "who uses it does not destroy it";
  handles_.EndDecoding();
  {
    const HandleTable::Lock lock = table_.Acquire();
    table_.Find(lock, buffer)->outlives_id = true;
  }
  Begin();
  EXPECT_TRUE(handles_.NewIds(HandleType::kFence, &next, 1)) << "its destruction waits";
  EXPECT_EQ(handles_.refused(), "");
  handles_.EndDecoding();
  handles_.Forget(HandleType::kBuffer, buffer);
  Begin();
  EXPECT_TRUE(handles_.NewIds(HandleType::kFence, &next, 1)) << "it is gone";
}

TEST_F(CommandHandlesTest, ASlotIsUsedAgainWhenItsPoolGoesOrItNeverLived) {
  const ObjectId pool = Make(HandleType::kCommandPool, 5, 0x99);
  Make(HandleType::kCommandBuffer, 6, 0x66, pool);
  Make(HandleType::kBuffer, 7, 0);  // a tombstone
  const ObjectId commands = MakeObjectId(HandleType::kCommandBuffer, 2, 6);
  const ObjectId buffer = MakeObjectId(HandleType::kBuffer, 2, 7);
  Begin();
  EXPECT_TRUE(handles_.NewIds(HandleType::kBuffer, &buffer, 1));
  EXPECT_FALSE(handles_.NewIds(HandleType::kCommandBuffer, &commands, 1));
  handles_.EndDecoding();
  {
    const HandleTable::Lock lock = table_.Acquire();
    table_.Hold(lock, pool);
  }
  Begin();
  EXPECT_FALSE(handles_.NewIds(HandleType::kCommandBuffer, &commands, 1)) << "a reset frees no command buffers";
  handles_.EndDecoding();
  {
    const HandleTable::Lock lock = table_.Acquire();
    table_.Find(lock, pool)->outlives_id = true;
  }
  Begin();
  EXPECT_TRUE(handles_.NewIds(HandleType::kCommandBuffer, &commands, 1)) << "the pool's destruction waits";
}

TEST_F(CommandHandlesTest, NewObjectsHaveSlotsOfTheirOwn) {
  const std::array<ObjectId, 3> ids = {MakeObjectId(HandleType::kPipeline, 1, 5), kNullObject,
                                       MakeObjectId(HandleType::kPipeline, 2, 5)};
  Begin();
  EXPECT_FALSE(handles_.NewIds(HandleType::kPipeline, ids.data(), 3));
}

TEST_F(CommandHandlesTest, SetsGoWithTheirPool) {
  const ObjectId pool = Make(HandleType::kDescriptorPool, 5, 0x99);
  const ObjectId set = Make(HandleType::kDescriptorSet, 6, 0x66, pool);
  handles_.ForgetChildrenOf(pool, HandleType::kDescriptorSet);
  Begin();
  EXPECT_TRUE(handles_.FromWire(HandleType::kDescriptorSet, set, HandleUse::kRequired, &handle_));
  EXPECT_TRUE(handles_.inert());
}

TEST_F(CommandHandlesTest, APendingObjectBlocksAndAPinnedOneIsContested) {
  const ObjectId module = Make(HandleType::kShaderModule, 5, 0x33);
  const ObjectId pipeline = MakeObjectId(HandleType::kPipeline, 1, 6);
  CommandHandles job(&table_);
  job.Begin({});
  EXPECT_TRUE(job.FromWire(HandleType::kDevice, device_, HandleUse::kRequired, &handle_));
  EXPECT_TRUE(job.FromWire(HandleType::kShaderModule, module, HandleUse::kRequired, &handle_));
  ASSERT_TRUE(job.NewIds(HandleType::kPipeline, &pipeline, 1));
  job.EndDecoding();
  job.EnterPending();
  EXPECT_EQ(job.Pinnable(), std::vector<ObjectId>{module}) << "dispatchable objects are not pinned";
  table_.Pin(table_.Acquire(), module);

  Begin({.destroys = true});
  EXPECT_TRUE(handles_.FromWire(HandleType::kShaderModule, module, HandleUse::kOptional, &handle_));
  EXPECT_TRUE(handles_.contested());
  EXPECT_FALSE(handles_.blocked());
  EXPECT_TRUE(handles_.FromWire(HandleType::kPipeline, pipeline, HandleUse::kOptional, &handle_));
  EXPECT_TRUE(handles_.blocked());
  handles_.EndDecoding();

  const uint64_t made = 0x44;
  job.Adopt(HandleType::kPipeline, &pipeline, &made, 1);
  job.Finish(false, VK_SUCCESS);
  EXPECT_EQ(job.ToWire(HandleType::kPipeline, 0x44), pipeline);
  Begin();
  EXPECT_TRUE(handles_.FromWire(HandleType::kPipeline, pipeline, HandleUse::kRequired, &handle_));
  EXPECT_EQ(handle_, 0x44u);
}

TEST_F(CommandHandlesTest, TheSameQueueMayBeAskedForTwice) {
  const ObjectId first = Make(HandleType::kQueue, 5, 0x77);
  const ObjectId second = Make(HandleType::kQueue, 6, 0x77);
  EXPECT_EQ(handles_.ToWire(HandleType::kQueue, 0x77), first);
  Begin();
  EXPECT_TRUE(handles_.FromWire(HandleType::kQueue, second, HandleUse::kRequired, &handle_));
  EXPECT_EQ(handle_, 0x77u);
}

}  // namespace
}  // namespace vesper::server
