// Protects the order in which jobs start, which lets one wait for those before it.
#include "server/base/job_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace vesper::server {
namespace {

TEST(JobPoolTest, ALaterJobMayWaitForAnEarlierOne) {
  JobPool pool(2);
  std::promise<void> first;
  std::shared_future<void> done = first.get_future().share();
  std::atomic<int> ended = 0;
  pool.Post([&] {
    first.set_value();
    ++ended;
  });
  for (int i = 0; i < 20; ++i) {
    pool.Post([&, done] {
      done.wait();
      ++ended;
    });
  }
  pool.Drain();
  EXPECT_EQ(ended, 21);
}

TEST(JobPoolTest, WhatWasPostedRunsBeforeTheEnd) {
  std::atomic<int> ended = 0;
  {
    JobPool pool(3);
    for (int i = 0; i < 100; ++i) pool.Post([&] { ++ended; });
  }
  EXPECT_EQ(ended, 100);
}

}  // namespace
}  // namespace vesper::server
