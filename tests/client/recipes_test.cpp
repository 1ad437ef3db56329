// Protects: answers are shared by objects made of the same, and by no others.
#include "client/session/recipes.h"

#include <gtest/gtest.h>

#include "client/base/limits.h"

namespace vesper::client {
namespace {

constexpr auto kType = static_cast<HandleType>(7);

ObjectId Id(uint32_t generation, uint32_t slot) { return MakeObjectId(kType, generation, slot); }

TEST(Recipes, EqualRequestsHaveOneStandInThatIsNoId) {
  Recipes recipes;
  const uint64_t pair[] = {Id(1, 5), Id(3, 9)};
  const uint64_t other = Id(1, 6);
  recipes.Note(pair, "a buffer");
  recipes.Note({&other, 1}, "a larger buffer");
  const ObjectId stand_in = recipes.StandIn(kType, pair[0]);
  EXPECT_EQ(GenerationOf(stand_in), 0u);
  EXPECT_EQ(recipes.StandIn(kType, pair[1]), stand_in);
  EXPECT_NE(recipes.StandIn(kType, other), stand_in);
}

TEST(Recipes, ASlotThatIsUsedAgainHasItsNewRecipe) {
  Recipes recipes;
  const uint64_t old = Id(1, 5);
  const uint64_t young = Id(2, 5);
  recipes.Note({&old, 1}, "a");
  const ObjectId a = recipes.StandIn(kType, old);
  EXPECT_EQ(recipes.StandIn(kType, young), young) << "nothing is known of it";
  recipes.Note({&young, 1}, "b");
  EXPECT_NE(recipes.StandIn(kType, young), a);
  EXPECT_EQ(recipes.StandIn(kType, old), old);
}

TEST(Recipes, BeyondTheLimitObjectsAnswerForThemselves) {
  Recipes recipes;
  for (uint32_t i = 0; i <= limits::kMaxRecipes; ++i) {
    const uint64_t id = Id(1, i + 1);
    recipes.Note({&id, 1}, std::to_string(i));
    const bool known = recipes.StandIn(kType, id) != id;
    ASSERT_EQ(known, i < limits::kMaxRecipes) << i;
  }
}

}  // namespace
}  // namespace vesper::client
