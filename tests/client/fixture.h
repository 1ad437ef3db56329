// A device of a session whose server the test plays: entry points are called on it as an application would.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "client/objects/object.h"
#include "client/session/session.h"
#include "client/wsi/device_windows.h"
#include "generated/client/entry_points.h"
#include "generated/client/overrides.h"
#include "tests/client/scripted_server.h"

namespace vesper::client {

class ClientFixture : public testing::Test {
 protected:
  static constexpr VkMemoryPropertyFlags kCoherent =
      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;

  explicit ClientFixture(ScriptedServer::OnRecord on_record = AnswerSuccess())
      : server_(std::move(on_record)), session_(server_.TakeClientEnd(), Welcome{}) {
    session_.AddDevice(&device_);
    device_.memory_properties.memoryTypeCount = 2;
    device_.memory_properties.memoryTypes[0].propertyFlags = kCoherent;
    device_.memory_properties.memoryTypes[1].propertyFlags = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT;
    session_.AddQueue(&queue_);
  }

  ~ClientFixture() override {
    session_.RemoveQueue(&queue_);
    for (const auto& queue : device_.queues) session_.RemoveQueue(queue.get());
    session_.RemoveDevice(&device_);
  }

  // VkResult 0 for whatever is asked, and a byte for each handle that a create names: those of one object suffice here.
  static ScriptedServer::OnRecord AnswerSuccess() {
    return [](ScriptedServer& server, const Received& record) {
      if (record.sequence == 0) return;
      const uint8_t reply[] = {0, 0, 0, 0, 1, 1, 1, 1};
      server.Answer(record.sequence, reply);
    };
  }

  Queue* AddQueue() {
    uint64_t id = 0;
    session_.ids().Mint(HandleType::kQueue, {&id, 1});
    device_.queues.push_back(std::make_unique<Queue>(&device_, id));
    session_.AddQueue(device_.queues.back().get());
    return device_.queues.back().get();
  }

  uint64_t NewId(HandleType type) {
    uint64_t id = 0;
    EXPECT_TRUE(session_.ids().Mint(type, {&id, 1}));
    return id;
  }
  uint64_t round_trips() { return session_.statistics().round_trips.load() - 1; }  // without the handshake
  size_t RecordsOf(Command command) { return server_.Records(static_cast<uint16_t>(command)).size(); }

  VkDevice device() { return ToHandle<VkDevice>(&device_); }
  VkQueue queue() { return ToHandle<VkQueue>(&queue_); }
  void Complete(uint64_t serial) { server_.Complete(queue_.header.id, serial); }

  ScriptedServer server_;
  Session session_;
  Instance instance_{&session_, NewId(HandleType::kInstance)};
  PhysicalDevice physical_device_{&instance_, NewId(HandleType::kPhysicalDevice)};
  Device device_{&physical_device_, NewId(HandleType::kDevice), &session_, std::make_unique<DeviceWindows>()};
  Queue queue_{&device_, NewId(HandleType::kQueue)};
};

}  // namespace vesper::client
