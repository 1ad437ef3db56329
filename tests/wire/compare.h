// The recording driver's answers, and deep comparison of what one side sent with what the other received.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tests/wire/fill.h"

namespace vesper::test {

// Writes random results wherever the callee may write, given how much room there is. `failed`: the command returns an error.
class Answerer {
 public:
  // `nothing`: writes zeros, and counts of 0.
  Answerer(Random* random, Handles* handles, Shape shape, bool nothing = false)
      : random_(random), handles_(handles), shape_(shape), nothing_(nothing) {}
  void Answer(const Struct& s, uint8_t* p, Role role, bool failed);

 private:
  void AnswerByValue(const Struct& s, const Member& m, uint8_t* p);
  void AnswerOutput(const Struct& s, const Member& m, uint8_t* p, bool failed);
  void AnswerInputs(const Member& m, uint8_t* p);
  void AnswerChain(const Struct& s, uint8_t* chain, Role role);
  void AnswerCount(const Struct& s, const Member& count, const uint8_t* owner, uint8_t* at);
  void Value(const Member& m, const uint8_t* owner, uint8_t* at);

  Random* random_;
  Handles* handles_;
  Shape shape_;
  bool nothing_;
};

// Compares by the tables; the first difference is kept with the path of its member.
class Comparer {
 public:
  explicit Comparer(Handles* handles) : handles_(handles) {}

  // `src` in the client, `dst` as the driver saw it.
  void Request(const Struct& s, const uint8_t* src, const uint8_t* dst, Role role);
  // `src` in the server after the driver wrote it, `dst` in the client. What `memory` allows to differ from its snapshot
  // is collected in allowed().
  void Reply(const Struct& s, const uint8_t* src, const uint8_t* dst, Role role, bool failed, Memory* memory);

  bool ok() const { return error_.empty(); }
  const std::string& error() const { return error_; }
  const std::vector<uint8_t>& allowed() const { return allowed_; }
  void Allow(const uint8_t* at, size_t size);
  void Differ(const std::string& what);

 private:
  class Step {
   public:
    Step(Comparer* all, const char* name, size_t index = SIZE_MAX) : all_(all) { all->path_.emplace_back(name, index); }
    ~Step() { all_->path_.pop_back(); }
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;

   private:
    Comparer* all_;
  };
  void RequestMember(const Struct& s, const Member& m, const uint8_t* src, const uint8_t* dst, Role role);
  void RequestPointer(const Struct& s, const Member& m, const uint8_t* src, const uint8_t* dst, Role role);
  void RequestItems(const Member& m, const uint8_t* src, const uint8_t* dst, const uint8_t* from, const uint8_t* to,
                    uint64_t n);
  void RequestChain(const Struct& s, const uint8_t* src, const uint8_t* dst, Role role);
  void RequestNothing(const Member& m, const uint8_t* dst, Role role);
  void RequestUnion(const Member& m, const uint8_t* src, const uint8_t* dst, Role role);
  void ReplyMember(const Struct& s, const Member& m, const uint8_t* src, const uint8_t* dst, Role role, bool failed);
  void ReplyOutput(const Member& m, const uint8_t* src, const uint8_t* dst, bool failed);
  void ReplyInputs(const Member& m, const uint8_t* src, const uint8_t* dst);
  void ReplyChain(const Struct& s, const uint8_t* src, const uint8_t* dst, Role role);
  void Value(const Member& m, const uint8_t* src_owner, const uint8_t* src, const uint8_t* dst_owner,
             const uint8_t* dst);
  uint64_t Expected(HandleType type, uint64_t value) const;

  Handles* handles_;
  Memory* memory_ = nullptr;
  bool to_client_ = false;
  wire::Around around_;
  std::vector<std::pair<const char*, size_t>> path_;
  std::vector<uint8_t> allowed_;
  std::string error_;
};

}  // namespace vesper::test
