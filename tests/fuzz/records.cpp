#include "tests/fuzz/records.h"

#include <algorithm>
#include <vector>

#include "runtime/wire/encoder.h"
#include "runtime/wire/record.h"
#include "tests/wire/random.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace vesper::test {
namespace {

struct Record {
  wire::RecordHeader header;
  std::vector<uint8_t> body;
};

std::vector<Record> Split(std::span<const uint8_t> bytes) {
  std::vector<Record> records;
  Record record;
  std::span<const uint8_t> body;
  while (wire::NextRecord(&bytes, &record.header, &body)) {
    record.body.assign(body.begin(), body.end());
    records.push_back(record);
  }
  return records;
}

size_t Join(const std::vector<Record>& records, uint8_t* out, size_t max_size) {
  wire::ByteBuffer bytes;
  for (const Record& record : records) {
    const size_t before = bytes.size();
    const size_t mark = wire::BeginRecord(&bytes, record.header.command, record.header.flags);
    bytes.Append(record.body.data(), record.body.size());
    wire::EndRecord(&bytes, mark);
    if (bytes.size() <= max_size) continue;
    bytes.Truncate(before);
    break;
  }
  std::copy_n(bytes.data(), bytes.size(), out);
  return bytes.size();
}

// One field of a body: a count, an id, a flag. Most faults are a number that is wrong by a little or by a lot.
void ChangeNumber(std::vector<uint8_t>* body, Random* random) {
  if (body->size() < 4) return;
  const size_t at = random->Below(body->size() / 4) * 4;
  static constexpr uint32_t kNumbers[] = {0, 1, 2, 7, 0x7fffffff, 0x80000000, 0xffffffff, 0x00ffffff, 0x1000};
  uint32_t value = 0;
  std::memcpy(&value, body->data() + at, 4);
  switch (random->Below(4)) {
    case 0:
      value = kNumbers[random->Below(std::size(kNumbers))];
      break;
    case 1:
      value += static_cast<uint32_t>(random->Below(9)) - 4;
      break;
    case 2:
      value ^= 1u << random->Below(32);
      break;
    default:
      std::memcpy(&value, body->data() + random->Below(body->size() / 4) * 4, 4);
  }
  std::memcpy(body->data() + at, &value, 4);
}

void ChangeBody(Record* record, Random* random, size_t room) {
  if (random->OneIn(2)) return ChangeNumber(&record->body, random);
  const size_t size = record->body.size();
  record->body.resize(size + std::min<size_t>(room, 256));
  record->body.resize(LLVMFuzzerMutate(record->body.data(), size, record->body.size()));
}

}  // namespace

size_t MutateRecords(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  Random random(seed);
  std::vector<Record> records = Split({data, size});
  if (records.empty() || random.OneIn(16)) return LLVMFuzzerMutate(data, size, max_size);
  const size_t at = random.Below(records.size());
  switch (random.Below(8)) {
    case 0:
      records.erase(records.begin() + static_cast<ptrdiff_t>(at));
      break;
    case 1:
      records.insert(records.begin() + static_cast<ptrdiff_t>(random.Below(records.size())), Record(records[at]));
      break;
    case 2:
      std::swap(records[at], records[random.Below(records.size())]);
      break;
    case 3:
      records[at].header.flags ^= 1;
      break;
    default:
      ChangeBody(&records[at], &random, max_size - std::min(max_size, size));
  }
  return Join(records, data, max_size);
}

size_t CrossRecords(const uint8_t* first, size_t first_size, const uint8_t* second, size_t second_size, uint8_t* out,
                    size_t max_size, unsigned seed) {
  Random random(seed);
  std::vector<Record> records = Split({first, first_size});
  const std::vector<Record> others = Split({second, second_size});
  records.resize(random.Below(records.size() + 1));
  const size_t from = random.Below(others.size() + 1);
  records.insert(records.end(), others.begin() + static_cast<ptrdiff_t>(from), others.end());
  return Join(records, out, max_size);
}

}  // namespace vesper::test
