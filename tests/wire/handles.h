// Objects that both sides know under different values, so that a forgotten or wrongly typed translation shows.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "generated/vk/commands.h"
#include "runtime/wire/handle_mapper.h"

namespace vesper::test {

// Object `slot` of a type has one value in the client, one id and one value in the server. Not thread-safe.
class Handles {
 public:
  static constexpr uint32_t kSlots = 0x1000;       // known to both sides
  static constexpr uint32_t kStaleSlot = 0xf0000;  // the server knows none from here on
  // What a valid program may leave where nothing reads: translating it is an error.
  static constexpr uint64_t kGarbage = 0xbad0bad0;

  // With `native` the client's values are what a client has without a mapper: ids, and pointers to headers.
  explicit Handles(bool native) : native_(native), client_(this, false), server_(this, true) {}

  uint64_t Client(HandleType type, uint32_t slot);
  ObjectId Id(HandleType type, uint32_t slot) const { return MakeObjectId(type, 1, slot); }
  uint64_t Server(HandleType type, uint32_t slot) const;

  // What the other side must see for a value of this one; a stale or null object is null.
  uint64_t ToServer(HandleType type, uint64_t client);
  uint64_t ToClient(HandleType type, uint64_t server) const;
  ObjectId ToId(HandleType type, uint64_t client);

  wire::HandleMapper* client() { return native_ ? nullptr : &client_; }
  wire::HandleMapper* server() { return &server_; }
  // What was translated and should not have been, "" so far.
  const std::string& error() const { return error_; }

 private:
  class Mapper : public wire::HandleMapper {
   public:
    Mapper(Handles* all, bool server) : all_(all), server_(server) {}
    ObjectId ToWire(HandleType type, uint64_t handle) const override;
    bool FromWire(HandleType type, ObjectId id, wire::HandleUse use, uint64_t* handle) override;

   private:
    Handles* all_;
    bool server_;
  };
  void Fault(HandleType type, uint64_t value, const char* what);

  bool native_;
  Mapper client_, server_;
  std::map<std::pair<HandleType, uint32_t>, std::unique_ptr<DispatchableHeader>> headers_;
  std::string error_;
};

// Answers anything: what a hostile peer names may be unknown, refused, or exist.
class HostileMapper : public wire::HandleMapper {
 public:
  ObjectId ToWire(HandleType, uint64_t handle) const override { return handle; }
  bool FromWire(HandleType, ObjectId id, wire::HandleUse, uint64_t* handle) override {
    *handle = id % 3 == 0 ? 0 : id & 0xffffffff;
    return id % 61 != 0;
  }
};

}  // namespace vesper::test
