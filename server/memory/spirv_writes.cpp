#include "server/memory/spirv_writes.h"

#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "server/base/limits.h"

namespace vesper::server {
namespace {

constexpr uint32_t kMagic = 0x07230203;
constexpr size_t kHeaderWords = 5;

// The numbers of the specification.
enum Op : uint32_t {
  kUndef = 1,
  kName = 5,
  kMemberName = 6,
  kLine = 8,
  kExtInstImport = 11,
  kExtInst = 12,
  kMemoryModel = 14,
  kEntryPoint = 15,
  kExecutionMode = 16,
  kTypeImage = 25,
  kTypeSampledImage = 27,
  kVariable = 59,
  kImageTexelPointer = 60,
  kLoad = 61,
  kAccessChain = 65,
  kInBoundsAccessChain = 66,
  kPtrAccessChain = 67,
  kArrayLength = 68,
  kInBoundsPtrAccessChain = 70,
  kDecorate = 71,
  kMemberDecorate = 72,
  kDecorationGroup = 73,
  kCopyObject = 83,
  kImageFetch = 95,
  kImageRead = 98,
  kImageQuerySizeLod = 103,
  kImageQuerySize = 104,
  kImageQueryLevels = 106,
  kImageQuerySamples = 107,
  kAtomicLoad = 227,
  kImageSparseRead = 320,
  kExecutionModeId = 331,
  kDecorateId = 332,
  kUntypedVariable = 4418,
  kDecorateString = 5632,
  kMemberDecorateString = 5633,
};
constexpr uint32_t kBinding = 33;
constexpr uint32_t kDescriptorSet = 34;
constexpr uint32_t kLogicalAddressing = 0;

enum StorageClass : uint32_t { kUniformConstant = 0, kUniform = 2, kStorageBuffer = 12 };

struct Instruction {
  uint32_t op;
  std::span<const uint32_t> words;  // with the first, which has the opcode
  uint32_t at(size_t i) const { return i < words.size() ? words[i] : 0; }
};

// Calls visit(instruction) for each; false when they do not add up.
template <typename Visit>
bool ForEachInstruction(std::span<const uint32_t> code, Visit visit) {
  size_t at = kHeaderWords;
  while (at < code.size()) {
    const size_t count = code[at] >> 16;
    if (count == 0 || count > code.size() - at) return false;
    visit(Instruction{code[at] & 0xffff, code.subspan(at, count)});
    at += count;
  }
  return true;
}

class Reader {
 public:
  ShaderWrites Read(std::span<const uint32_t> code) {
    ShaderWrites writes;
    writes.unknown = true;
    if (code.size() < kHeaderWords || code[0] != kMagic || code[3] > limits::kMaxShaderIds) return writes;
    roots_.resize(code[3], 0);
    if (!ForEachInstruction(code, [this](const Instruction& i) { Declare(i); }) || strange_) return writes;
    // An id may be used before the text defines it, in a loop: first where everything leads from, then how it is used.
    while (std::exchange(found_, false)) ForEachInstruction(code, [this](const Instruction& i) { Follow(i); });
    if (strange_) return writes;
    ForEachInstruction(code, [this](const Instruction& i) { Use(i); });
    for (const uint32_t variable : written_) {
      const auto set = sets_.find(variable);
      const auto binding = bindings_.find(variable);
      if (set == sets_.end() || binding == bindings_.end()) return writes;
      writes.bindings.emplace(set->second, binding->second);
    }
    writes.unknown = false;
    writes.addresses = addresses_;
    return writes;
  }

 private:
  void Declare(const Instruction& i) {
    switch (i.op) {
      case kMemoryModel:
        addresses_ = i.at(1) != kLogicalAddressing;
        break;
      case kDecorate:
        if (i.at(2) == kBinding) bindings_[i.at(1)] = i.at(3);
        if (i.at(2) == kDescriptorSet) sets_[i.at(1)] = i.at(3);
        break;
      case kDecorationGroup:
      case kUntypedVariable:
        strange_ = true;
        break;
      case kTypeImage:
      case kTypeSampledImage:
        images_.insert(i.at(1));
        break;
      case kVariable: {
        const uint32_t storage = i.at(3);
        if (storage == kUniformConstant || storage == kUniform || storage == kStorageBuffer) Lead(i.at(2), i.at(2));
        break;
      }
      default:
        break;
    }
  }

  void Lead(uint32_t id, uint32_t variable) {
    if (id == 0 || id >= roots_.size() || variable >= roots_.size()) {
      strange_ = true;
    } else if (roots_[id] == 0) {
      roots_[id] = variable;
      found_ = true;
    }
  }

  uint32_t RootOf(uint32_t id) const { return id < roots_.size() ? roots_[id] : 0; }

  // Results that lead to what their operand leads to.
  void Follow(const Instruction& i) {
    const bool chain = i.op == kAccessChain || i.op == kInBoundsAccessChain || i.op == kPtrAccessChain ||
                       i.op == kInBoundsPtrAccessChain || i.op == kCopyObject || i.op == kImageTexelPointer;
    // A loaded image still is what it was loaded from; a loaded number is not.
    const bool image = i.op == kLoad && images_.contains(i.at(1));
    if (!chain && !image) return;
    if (const uint32_t variable = RootOf(i.at(3))) Lead(i.at(2), variable);
  }

  static bool OnlyReads(uint32_t op) {
    switch (op) {
      case kName:
      case kMemberName:
      case kLine:
      case kExtInstImport:
      case kEntryPoint:
      case kExecutionMode:
      case kExecutionModeId:
      case kDecorate:
      case kMemberDecorate:
      case kDecorateId:
      case kDecorateString:
      case kMemberDecorateString:
      case kVariable:
      case kLoad:
      case kArrayLength:
      case kAccessChain:
      case kInBoundsAccessChain:
      case kPtrAccessChain:
      case kInBoundsPtrAccessChain:
      case kCopyObject:
      case kImageTexelPointer:
      case kImageFetch:
      case kImageRead:
      case kImageSparseRead:
      case kImageQuerySize:
      case kImageQuerySizeLod:
      case kImageQueryLevels:
      case kImageQuerySamples:
      case kAtomicLoad:
        return true;
      default:
        return false;
    }
  }

  // Which words of an instruction are ids is not known for all: a number that happens to be one only makes more of it written.
  void Use(const Instruction& i) {
    if (OnlyReads(i.op)) return;
    for (const uint32_t word : i.words.subspan(1)) {
      if (const uint32_t variable = RootOf(word)) written_.insert(variable);
    }
  }

  bool addresses_ = false;
  bool strange_ = false;
  bool found_ = false;
  std::unordered_map<uint32_t, uint32_t> bindings_;
  std::unordered_map<uint32_t, uint32_t> sets_;
  std::unordered_set<uint32_t> images_;   // types
  std::vector<uint32_t> roots_;           // by id the variable that it leads to, or 0
  std::unordered_set<uint32_t> written_;  // variables
};

}  // namespace

void ShaderWrites::Merge(const ShaderWrites& other) {
  unknown = unknown || other.unknown;
  addresses = addresses || other.addresses;
  bindings.insert(other.bindings.begin(), other.bindings.end());
}

ShaderWrites ReadShaderWrites(std::span<const uint32_t> code) { return Reader().Read(code); }

}  // namespace vesper::server
