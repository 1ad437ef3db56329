// A guest's end of a channel and its host's, with a Unix socket in place of the port and a file in place of the memory device:
// what is taken of the area, what is named in it, who is woken, and what a hostile guest may do.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <thread>

#include "runtime/address.h"
#include "runtime/area.h"
#include "runtime/transport/ring_channel.h"
#include "tests/runtime/channel_pair.h"

namespace vesper::test {
namespace {

using std::chrono::milliseconds;
using transport::RingChannel;

constexpr milliseconds kLong(20000);  // never reached in a passing test
constexpr uint64_t kUnit = Area::kUnit;

TEST(AreaTest, WhatOneHasTakenNobodyElseGets) {
  const TestArea test(5 * kUnit);
  const auto one = Area::OfHost(test.Open()), other = Area::OfHost(test.Open());
  ASSERT_NE(one, nullptr);
  EXPECT_EQ(one->bytes(), 5 * kUnit);
  EXPECT_EQ(one->Take(kUnit), kUnit) << "the first unit has the label";
  EXPECT_EQ(other->Take(1), 2 * kUnit);
  EXPECT_EQ(one->Take(2 * kUnit + 1), std::nullopt);
  EXPECT_EQ(one->Take(2 * kUnit), 3 * kUnit);
  EXPECT_EQ(other->Take(1), std::nullopt) << "it is full";
  EXPECT_EQ(one->Take(0), std::nullopt);
  EXPECT_EQ(one->Take(UINT64_MAX - kUnit), std::nullopt);
  one->GiveBack(4 * kUnit, kUnit);
  EXPECT_EQ(other->Take(kUnit), 4 * kUnit);
  EXPECT_EQ(one->Take(kUnit), std::nullopt);
}

TEST(AreaTest, WhatAProcessHadIsFreeWhenItsFileIsClosed) {
  const TestArea test(4 * kUnit);
  const auto stays = Area::OfHost(test.Open());
  {
    const auto dies = Area::OfHost(test.Open());
    ASSERT_EQ(dies->Take(3 * kUnit), kUnit);
    uint8_t* const data = dies->Map({kUnit, kUnit});
    ASSERT_NE(data, nullptr);
    std::memset(data, 7, kUnit);
    munmap(data, kUnit);
    EXPECT_EQ(stays->Take(kUnit), std::nullopt);
  }
  ASSERT_EQ(stays->Take(3 * kUnit), kUnit);
  ASSERT_TRUE(stays->Fill({kUnit, kUnit}));
  uint8_t* const data = stays->Map({kUnit, kUnit});
  ASSERT_NE(data, nullptr);
  EXPECT_EQ(data[0] | data[kUnit - 1], 0) << "new memory is zeros, whoever had it before";
  munmap(data, kUnit);
}

TEST(AreaTest, OnlyWholeUnitsWithinAreMapped) {
  const TestArea test(4 * kUnit);
  const auto area = Area::OfHost(test.Open());
  for (const MemoryPlace wrong : {MemoryPlace{4096, kUnit}, MemoryPlace{0, 4096}, MemoryPlace{4 * kUnit, kUnit},
                                  MemoryPlace{UINT64_MAX - kUnit + 1, 2 * kUnit}, MemoryPlace{0, 0}}) {
    EXPECT_EQ(area->Map(wrong), nullptr) << wrong.offset << " " << wrong.size;
  }
}

TEST(AreaTest, TheGuestTellsItsMemoryFromOthers) {
  const TestArea test(4 * kUnit);
  std::string error;
  EXPECT_NE(Area::OfGuest(test.Open(), kUnit, test.label(), &error), nullptr) << error;
  AreaLabel other = test.label();
  ++other.id[3];
  EXPECT_EQ(Area::OfGuest(test.Open(), kUnit, other, &error), nullptr);
  EXPECT_EQ(error, "it is not the memory that belongs to the port");
  other = test.label();
  other.bytes = uint64_t{1} << 60;
  EXPECT_EQ(Area::OfGuest(test.Open(), kUnit, other, &error), nullptr);
}

// As the kernel's nvdimm drivers read it: a namespace of device DAX, aligned to 2 MiB, whose data begin there.
TEST(AreaTest, TheFileHoldsWhatTheKernelLooksFor) {
  const TemporaryDirectory folder;
  std::string error;
  const Descriptor file = OpenAreaFile(folder.path() + "/area", 6 * kUnit, &error);
  ASSERT_TRUE(file.valid()) << error;
  EXPECT_EQ(lseek(file.get(), 0, SEEK_END), static_cast<off_t>(7 * kUnit));
  std::array<uint8_t, 4096> block;
  ASSERT_EQ(pread(file.get(), block.data(), block.size(), 4096), 4096);
  EXPECT_STREQ(reinterpret_cast<const char*>(block.data()), "NVDIMM_DAX_INFO");
  const auto word = [&](size_t at) {
    uint32_t value;
    std::memcpy(&value, &block[at], sizeof(value));
    return value;
  };
  EXPECT_EQ(word(52), 1u | 4u << 16) << "version 1.4";
  EXPECT_EQ(word(56), kUnit) << "where data begin";
  EXPECT_EQ(word(64), 6 * kUnit / 4096) << "pages";
  EXPECT_EQ(word(72), 1u) << "mode";
  EXPECT_EQ(word(84), kUnit) << "alignment";
  EXPECT_EQ(word(88), 4096u);
  uint32_t low = 0;
  uint64_t high = 0;
  for (size_t at = 0; at < 4088; at += 4) high += low += word(at);
  EXPECT_EQ(word(4088), low);
  EXPECT_EQ(word(4092), static_cast<uint32_t>(high + 2 * uint64_t{low}));
  EXPECT_TRUE(OpenAreaFile(folder.path() + "/area", 6 * kUnit, &error).valid()) << "it may be there already";
  EXPECT_FALSE(OpenAreaFile(folder.path() + "/area", 7 * kUnit, &error).valid());
  EXPECT_NE(error.find("of another size"), std::string::npos) << error;
}

class GuestChannelTest : public testing::Test {
 protected:
  void SetUp() override { Connect(&client_, &server_); }
  void Connect(std::unique_ptr<RingChannel>* client, std::unique_ptr<RingChannel>* server) {
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_), 0);
    std::string error;
    // What MakeGuestChannel() makes where there is an area is a RingChannel that has no ring yet.
    client->reset(static_cast<RingChannel*>(
        MakeGuestChannel(dup(ends_[0]), Area::OfGuest(area_.Open(), kUnit, area_.label(), &error)).release()));
    server->reset(static_cast<RingChannel*>(MakeGuestChannel(dup(ends_[1]), Area::OfHost(area_.Open())).release()));
    std::thread offering([&] { EXPECT_TRUE((*server)->OfferRing()); });
    EXPECT_TRUE((*client)->TakeRing());
    offering.join();
  }
  void TearDown() override {
    close(ends_[0]);
    close(ends_[1]);
  }
  Message Receive(Channel& channel) {
    Message message;
    EXPECT_EQ(channel.Receive(&message, kLong), ChannelStatus::kOk) << channel.error();
    return message;
  }
  static ChannelStatus SendPlace(Channel& channel, MemoryPlace place) {
    const std::vector<uint8_t> bytes = Bytes("reply");
    const std::span<const uint8_t> part(bytes);
    return channel.SendWithPlace(MessageKind::kReply, 5, {&part, 1}, place);
  }

  const TestArea area_{16 * kUnit};
  int ends_[2] = {-1, -1};
  std::unique_ptr<RingChannel> client_, server_;
};

TEST_F(GuestChannelTest, NamesMemoryByItsPlace) {
  ASSERT_TRUE(server_->NamesPlaces());
  EXPECT_FALSE(server_->CarriesDescriptors());
  ASSERT_EQ(SendPlace(*server_, {3 * kUnit + 8192, 4096}), ChannelStatus::kOk);
  const Message message = Receive(*client_);
  EXPECT_EQ(message.payload, Bytes("reply"));
  EXPECT_EQ(message.sequence, 5u);
  EXPECT_EQ(message.announced_descriptors, 1u);
  ASSERT_EQ(message.descriptors.size(), 1u);
  EXPECT_EQ(message.place.offset, 4 * kUnit + 8192) << "in the file";
  EXPECT_EQ(message.place.size, 4096u);
  ASSERT_EQ(SendBytes(*server_, MessageKind::kReply, 6, {1}), ChannelStatus::kOk);
  const Message plain = Receive(*client_);
  EXPECT_EQ(plain.announced_descriptors, 0u);
  EXPECT_EQ(plain.place.size, 0u);
}

TEST_F(GuestChannelTest, OnlyTheHostNamesPlacesAndOnlyWithinTheArea) {
  EXPECT_EQ(SendPlace(*server_, {15 * kUnit, 2 * kUnit}), ChannelStatus::kOk);
  Message message;
  EXPECT_EQ(client_->Receive(&message, kLong), ChannelStatus::kMalformed);
  EXPECT_EQ(client_->error(), "the peer names memory beyond the area");
  EXPECT_EQ(SendPlace(*client_, {kUnit, 4096}), ChannelStatus::kMalformed);
}

TEST_F(GuestChannelTest, ASleeperIsWokenOnceThroughThePort) {
  std::thread receiver([this] {
    for (uint64_t i = 0; i < 200; ++i) EXPECT_EQ(Receive(*server_).sequence, i);
  });
  while (!client_->peer_sleeps()) std::this_thread::yield();
  for (uint64_t i = 0; i < 100; ++i) ASSERT_EQ(SendBatch(*client_, i, 200), ChannelStatus::kOk);
  while (!client_->peer_sleeps()) std::this_thread::yield();
  for (uint64_t i = 100; i < 200; ++i) ASSERT_EQ(SendBatch(*client_, i, 200), ChannelStatus::kOk);
  receiver.join();
  EXPECT_GE(client_->counts().wakes, 2u);
  EXPECT_LE(client_->counts().wakes, server_->counts().sleeps);
  EXPECT_EQ(client_->counts().beside, 0u);
}

TEST_F(GuestChannelTest, NobodyIsWokenWhoIsAwake) {
  for (uint64_t i = 0; i < 1000; ++i) {
    ASSERT_EQ(SendBatch(*client_, i, 200), ChannelStatus::kOk);
    EXPECT_EQ(Receive(*server_).sequence, i);
    ASSERT_EQ(SendBytes(*server_, MessageKind::kReply, i, {1, 2, 3}), ChannelStatus::kOk);
    EXPECT_EQ(Receive(*client_).sequence, i);
  }
  EXPECT_EQ(client_->counts().wakes + server_->counts().wakes, 0u);
}

TEST_F(GuestChannelTest, WhatIsLargeComesThroughThePortInItsTurn) {
  for (RingChannel* from : {client_.get(), server_.get()}) {
    RingChannel& to = from == client_.get() ? *server_ : *client_;
    std::thread sender([&] {
      for (uint64_t i = 0; i < 30; ++i) {
        EXPECT_EQ(SendBatch(*from, i, i % 3 == 2 ? 3u << 20 : 1000), ChannelStatus::kOk) << from->error();
      }
    });
    for (uint64_t i = 0; i < 30; ++i) {
      const Message message = Receive(to);
      EXPECT_EQ(message.sequence, i);
      EXPECT_EQ(message.payload, Pattern(i, i % 3 == 2 ? 3u << 20 : 1000));
    }
    sender.join();
    EXPECT_EQ(from->counts().beside, 10u);
  }
}

TEST_F(GuestChannelTest, ANudgeIsNoMessage) {
  client_->Nudge();
  server_->Nudge();
  Message message;
  EXPECT_EQ(server_->Receive(&message, milliseconds(20)), ChannelStatus::kTimeout);
  EXPECT_EQ(client_->Receive(&message, milliseconds(20)), ChannelStatus::kTimeout);
  ASSERT_EQ(SendBatch(*client_, 1, 100), ChannelStatus::kOk);
  EXPECT_EQ(Receive(*server_).sequence, 1u);
}

// As the next process of the guest does that finds a port without a label.
TEST_F(GuestChannelTest, NonsenseInThePortEndsTheSession) {
  std::array<uint8_t, 64> nonsense;
  nonsense.fill(0xff);
  std::thread receiver([this] {
    Message message;
    EXPECT_EQ(server_->Receive(&message, kLong), ChannelStatus::kMalformed);
  });
  while (!client_->peer_sleeps()) std::this_thread::yield();
  ASSERT_EQ(write(ends_[0], nonsense.data(), nonsense.size()), 64);
  receiver.join();
}

TEST_F(GuestChannelTest, WhatTheRingDoesNotAnnounceIsMalformed) {
  const auto other = MakeGuestChannel(dup(ends_[0]), nullptr);
  ASSERT_EQ(SendBatch(*other, 1, 100), ChannelStatus::kOk);
  Message message;
  EXPECT_EQ(server_->Receive(&message, kLong), ChannelStatus::kMalformed);
  EXPECT_EQ(server_->error(), "a message that the ring does not announce");
}

TEST_F(GuestChannelTest, TheHostHearsThatAProcessEnds) {
  Message message;
  client_.reset();
  EXPECT_EQ(server_->Receive(&message, kLong), ChannelStatus::kClosed);
}

TEST_F(GuestChannelTest, TheGuestHearsThatTheHostEnds) {
  Message message;
  std::thread closing([this] {
    while (!server_->peer_sleeps()) std::this_thread::yield();
    server_->Close();
  });
  EXPECT_EQ(client_->Receive(&message, kLong), ChannelStatus::kClosed);
  closing.join();
}

TEST_F(GuestChannelTest, TwoProcessesShareNothing) {
  std::unique_ptr<RingChannel> client, server;
  const int first[2] = {ends_[0], ends_[1]};
  Connect(&client, &server);
  for (uint64_t i = 0; i < 100; ++i) {
    ASSERT_EQ(SendBatch(*client, i, 3000), ChannelStatus::kOk);
    ASSERT_EQ(SendBatch(*client_, 1000 + i, 3000), ChannelStatus::kOk);
    EXPECT_EQ(Receive(*server).payload, Pattern(i, 3000));
    EXPECT_EQ(Receive(*server_).payload, Pattern(1000 + i, 3000));
  }
  close(first[0]);
  close(first[1]);
}

// The guest's kernel writes anywhere in the area at any time: labels, words and bytes of rings. The host need not understand what
// it reads, but it must not crash, and must end when it is told to.
TEST_F(GuestChannelTest, AnythingMayBeStoredIntoTheArea) {
  std::string error;
  const auto guest = Area::OfGuest(area_.Open(), kUnit, area_.label(), &error);
  uint8_t* const all = guest->Map({0, guest->bytes()});
  ASSERT_NE(all, nullptr);
  std::atomic<bool> stop = false;
  std::thread hostile([&] {
    std::mt19937_64 random(3);
    while (!stop) {
      const uint64_t at = random() % 4 == 0 ? random() % (2 * kUnit) : kUnit + random() % 4096;
      const uint64_t value = random() % 2 == 0 ? random() : random() % 64 * 16;
      reinterpret_cast<std::atomic<uint64_t>*>(all)[at / 8].store(value);
    }
  });
  std::thread waiting([&] {
    Message message;
    for (int i = 0; i < 2000; ++i) {
      const ChannelStatus status = server_->Receive(&message, milliseconds(1));
      if (status == ChannelStatus::kClosed) break;
    }
  });
  for (int i = 0; i < 2000; ++i) {
    if (server_->SendsAtOnce(300)) SendBytes(*server_, MessageKind::kReply, 1, {1, 2, 3});
    server_->Raise(static_cast<uint64_t>(i % 70) + 1, static_cast<uint64_t>(i));
    if (server_->SendsAtOnce(300)) SendPlace(*server_, {kUnit, 4096});
  }
  server_->Close();
  waiting.join();
  stop = true;
  hostile.join();
  munmap(all, guest->bytes());
}

// --- finding one's way to the host -------------------------------------------------------------------------------------

class GuestAddressTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string error;
    Address address;
    address.path = folder_.path() + "/port";
    listener_ = Listener::Open(address, &error);
    ASSERT_NE(listener_, nullptr) << error;
    file_ = OpenAreaFile(folder_.path() + "/area", 4 * kUnit, &error);
    ASSERT_TRUE(file_.valid()) << error;
    label_.bytes = 4 * kUnit;
    label_.id.fill(9);
    ASSERT_TRUE(WriteLabel(file_, label_));
    guest_ = *ParseAddress("guest:" + folder_.path() + "/port," + folder_.path() + "/area", &error);
  }
  Descriptor Accept() {
    pollfd waiting{listener_->fd(), POLLIN, 0};
    EXPECT_EQ(poll(&waiting, 1, 5000), 1);
    return Descriptor(listener_->Accept());
  }

  const TemporaryDirectory folder_;
  std::unique_ptr<Listener> listener_;
  Descriptor file_;
  AreaLabel label_;
  Address guest_;
};

TEST_F(GuestAddressTest, FindsTheMemoryThatBelongsToThePort) {
  for (const bool same : {true, false}) {
    AreaLabel said = label_;
    if (!same) said.id[0] = 1;
    std::thread host([&] {
      const Descriptor port = Accept();
      EXPECT_EQ(write(port.get(), &said, sizeof(said)), static_cast<ssize_t>(sizeof(said)));
      poll(nullptr, 0, 50);
    });
    std::string error;
    const auto channel = vesper::Connect(guest_, 5000, &error);
    host.join();
    ASSERT_NE(channel, nullptr) << error;
    EXPECT_EQ(channel->NamesPlaces(), same) << "without it all goes through the port";
    EXPECT_EQ(channel->OffersRing(), same);
    EXPECT_STREQ(channel->name(), "port");
  }
}

// Whoever had the port has heard the label, and is gone.
TEST_F(GuestAddressTest, APortWithoutALabelIsGivenUp) {
  std::string error;
  std::array<uint8_t, 64> said{};
  std::thread host([&] {
    const Descriptor port = Accept();
    pollfd waiting{port.get(), POLLIN, 0};
    EXPECT_EQ(poll(&waiting, 1, 5000), 1);
    EXPECT_EQ(read(port.get(), said.data(), said.size()), 64);
  });
  EXPECT_EQ(vesper::Connect(guest_, 1000, &error), nullptr);
  host.join();
  EXPECT_EQ(said[0] & said[63], 0xff);
  EXPECT_NE(error.find("no server is ready at its other end"), std::string::npos) << error;
}

}  // namespace
}  // namespace vesper::test
