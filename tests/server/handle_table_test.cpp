// Protects the table that stands between a client's ids and the driver's handles: what it accepts,
// forgets and keeps.
#include "runtime/handle_table.h"

#include <gtest/gtest.h>

namespace vesper {
namespace {

constexpr auto kPool = static_cast<HandleType>(1);
constexpr auto kSet = static_cast<HandleType>(2);

class HandleTableTest : public testing::Test {
 protected:
  Object* AddLive(HandleType type, ObjectId id, uint64_t handle, ObjectId owner = kNullObject,
                  bool reversible = false) {
    Object* object = table_.Add(lock_, type, id, owner, nullptr);
    if (object != nullptr) table_.SetLive(lock_, object, handle, reversible);
    return object;
  }

  HandleTable table_{5000};
  HandleTable::Lock lock_ = table_.Acquire();
};

TEST_F(HandleTableTest, FindsWhatWasAddedAndNothingElse) {
  const ObjectId id = MakeObjectId(kPool, 1, 7);
  ASSERT_NE(AddLive(kPool, id, 0xabc), nullptr);
  EXPECT_EQ(table_.Find(lock_, id)->handle, 0xabcu);
  EXPECT_EQ(table_.Find(lock_, MakeObjectId(kPool, 2, 7)), nullptr);
  EXPECT_EQ(table_.Find(lock_, MakeObjectId(kPool, 1, 8)), nullptr);
  EXPECT_EQ(table_.Find(lock_, MakeObjectId(kPool, 1, 4999)), nullptr);
}

TEST_F(HandleTableTest, KnowsTheIdsOfHandlesOnceAsked) {
  const ObjectId before = MakeObjectId(kPool, 1, 7);
  const ObjectId after = MakeObjectId(kPool, 1, 8);
  const ObjectId same_handle = MakeObjectId(kSet, 1, 9);
  AddLive(kPool, before, 0xabc);
  EXPECT_EQ(table_.IdOf(lock_, kPool, 0xabc), kNullObject);
  table_.MakeReversible(lock_);
  table_.MakeReversible(lock_);
  AddLive(kPool, after, 0xdef);
  AddLive(kSet, same_handle, 0xabc);
  EXPECT_EQ(table_.IdOf(lock_, kPool, 0xabc), before);
  EXPECT_EQ(table_.IdOf(lock_, kPool, 0xdef), after);
  EXPECT_EQ(table_.IdOf(lock_, kSet, 0xabc), same_handle);
  EXPECT_EQ(table_.IdOf(lock_, kSet, 0xdef), kNullObject);
  table_.Forget(lock_, before);
  EXPECT_EQ(table_.IdOf(lock_, kPool, 0xabc), kNullObject);
  EXPECT_EQ(table_.IdOf(lock_, kSet, 0xabc), same_handle);
}

TEST_F(HandleTableTest, KnowsWhichIdsNobodyCanMint) {
  EXPECT_TRUE(table_.IsPlausible(kPool, MakeObjectId(kPool, 1, 1)));
  EXPECT_TRUE(table_.IsPlausible(kPool, MakeObjectId(kPool, kMaxGeneration, 4999)));
  EXPECT_FALSE(table_.IsPlausible(kPool, MakeObjectId(kPool, 1, 0))) << "slot 0 is never used";
  EXPECT_FALSE(table_.IsPlausible(kPool, MakeObjectId(kPool, 0, 1))) << "generation 0 is never used";
  EXPECT_FALSE(table_.IsPlausible(kPool, MakeObjectId(kPool, 1, 5000))) << "beyond the limit";
  EXPECT_FALSE(table_.IsPlausible(kPool, MakeObjectId(kPool, 1, 0xffffffff)));
  EXPECT_FALSE(table_.IsPlausible(kPool, MakeObjectId(kSet, 1, 1))) << "another type";
  EXPECT_FALSE(table_.IsPlausible(kPool, MakeObjectId(static_cast<HandleType>(255), 1, 1)));
}

TEST_F(HandleTableTest, NeverTakesAnIdTwice) {
  const ObjectId first = MakeObjectId(kPool, 3, 7);
  ASSERT_NE(AddLive(kPool, first, 1), nullptr);
  EXPECT_EQ(AddLive(kPool, first, 2), nullptr);
  table_.Forget(lock_, first);
  EXPECT_EQ(AddLive(kPool, first, 3), nullptr) << "the generation was used";
  EXPECT_EQ(AddLive(kPool, MakeObjectId(kPool, 2, 7), 4), nullptr) << "an older generation";
  EXPECT_NE(AddLive(kPool, MakeObjectId(kPool, 4, 7), 5), nullptr);
  EXPECT_EQ(table_.Find(lock_, first), nullptr);
}

TEST_F(HandleTableTest, ChildrenGoWithTheirOwner) {
  const ObjectId device = MakeObjectId(static_cast<HandleType>(9), 1, 1);
  const ObjectId pool = MakeObjectId(kPool, 1, 2);
  ASSERT_NE(AddLive(static_cast<HandleType>(9), device, 1), nullptr);
  ASSERT_NE(AddLive(kPool, pool, 2, device), nullptr);
  for (uint32_t i = 10; i < 20; ++i) ASSERT_NE(AddLive(kSet, MakeObjectId(kSet, 1, i), i, pool), nullptr);
  table_.Forget(lock_, MakeObjectId(kSet, 1, 10));  // first, middle and last of the list
  table_.Forget(lock_, MakeObjectId(kSet, 1, 15));
  table_.Forget(lock_, MakeObjectId(kSet, 1, 19));
  EXPECT_EQ(table_.live(lock_), 9u);
  table_.ForgetChildren(lock_, pool, kSet);
  EXPECT_EQ(table_.live(lock_), 2u);
  EXPECT_NE(table_.Find(lock_, pool), nullptr);
  ASSERT_NE(AddLive(kSet, MakeObjectId(kSet, 2, 10), 1, pool), nullptr);
  table_.Forget(lock_, device);
  EXPECT_EQ(table_.live(lock_), 0u);
  EXPECT_EQ(table_.peak(lock_), 12u);
}

TEST_F(HandleTableTest, FindsIdsOfDispatchableHandles) {
  const ObjectId id = MakeObjectId(kPool, 1, 1);
  AddLive(kPool, id, 0x1000, kNullObject, true);
  EXPECT_EQ(table_.IdOf(lock_, kPool, 0x1000), id);
  EXPECT_EQ(table_.IdOf(lock_, kSet, 0x1000), kNullObject);
  table_.Forget(lock_, id);
  EXPECT_EQ(table_.IdOf(lock_, kPool, 0x1000), kNullObject);
}

TEST_F(HandleTableTest, APinnedObjectOutlivesTheReuseOfItsSlot) {
  const ObjectId old_id = MakeObjectId(kPool, 1, 1);
  const ObjectId new_id = MakeObjectId(kPool, 2, 1);
  AddLive(kPool, old_id, 0x111);
  table_.Pin(lock_, old_id);
  ASSERT_NE(AddLive(kPool, new_id, 0x222), nullptr);
  ASSERT_NE(table_.Find(lock_, old_id), nullptr);
  EXPECT_EQ(table_.Find(lock_, old_id)->handle, 0x111u);
  EXPECT_EQ(table_.Find(lock_, new_id)->handle, 0x222u);
  table_.Unpin(lock_, old_id);
  EXPECT_EQ(table_.Find(lock_, old_id)->pins, 0u);
  table_.Forget(lock_, old_id);
  EXPECT_EQ(table_.Find(lock_, old_id), nullptr);
  EXPECT_NE(table_.Find(lock_, new_id), nullptr);
}

TEST_F(HandleTableTest, KnowsWhoHasASlot) {
  const ObjectId old_id = MakeObjectId(kPool, 2, 1);
  AddLive(kPool, old_id, 0x111);
  const ObjectId new_id = MakeObjectId(kSet, 3, 1);
  ASSERT_NE(table_.Holder(lock_, new_id), nullptr);
  EXPECT_EQ(table_.Holder(lock_, new_id)->id, old_id);
  EXPECT_EQ(table_.Holder(lock_, MakeObjectId(kSet, 1, 5000)), nullptr);
  EXPECT_TRUE(table_.IsNew(lock_, new_id));
  EXPECT_FALSE(table_.IsNew(lock_, old_id));
  table_.Forget(lock_, old_id);
  EXPECT_EQ(table_.Holder(lock_, new_id), nullptr);
  EXPECT_FALSE(table_.IsNew(lock_, old_id)) << "it was used";
}

TEST_F(HandleTableTest, TranslatesTheTypesOfAnotherRegistry) {
  std::array<HandleType, 256> types{};
  types[77] = kPool;
  table_.TranslateTypes(types);
  const ObjectId id = MakeObjectId(static_cast<HandleType>(77), 1, 1);
  EXPECT_TRUE(table_.IsPlausible(kPool, id));
  EXPECT_FALSE(table_.IsPlausible(kPool, MakeObjectId(kPool, 1, 1)));
  ASSERT_NE(AddLive(kPool, id, 5), nullptr);
  EXPECT_EQ(table_.Find(lock_, id)->type, kPool);
}

TEST(HandleTableHoldTest, HoldsAreCountedUntilTheyAreReleasedOrTheObjectGoes) {
  HandleTable table;
  const HandleTable::Lock lock = table.Acquire();
  const ObjectId pool = MakeObjectId(kPool, 1, 1);
  ASSERT_NE(table.Add(lock, kPool, pool, kNullObject, nullptr), nullptr);
  table.Hold(lock, pool);
  table.Hold(lock, pool);
  EXPECT_TRUE(table.any_held(lock));
  table.Release(lock, pool);
  EXPECT_TRUE(table.any_held(lock));
  table.Forget(lock, pool);
  EXPECT_FALSE(table.any_held(lock));
  table.Release(lock, pool);  // of what is gone: nothing
  EXPECT_FALSE(table.any_held(lock));
}

}  // namespace
}  // namespace vesper
