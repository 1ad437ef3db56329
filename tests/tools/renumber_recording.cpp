// renumber_recording IN OUT: a recording as the client of a newer registry would have made it. Its commands have other numbers,
// since commands that nobody knows yet stand among them; a session with it goes by names.
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tools/recording/dialect.h"
#include "tools/recording/recording.h"

using namespace vesper;                    // NOLINT(google-build-using-namespace): a program of one page
using namespace vesper::tools::recording;  // NOLINT(google-build-using-namespace): the same

namespace {

constexpr uint64_t kOtherFingerprint = 0x6e65776572;
constexpr size_t kKnownBetween = 5;  // so many names that are known for each that is not

uint16_t NumberThere(uint16_t number) { return static_cast<uint16_t>(number + number / kKnownBetween + 1); }

std::vector<std::string> NamesThere(const std::vector<std::string>& names) {
  std::vector<std::string> there;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i % kKnownBetween == 0) there.push_back("vkCommandOfTheFuture" + std::to_string(i));
    there.push_back(names[i]);
  }
  return there;
}

void Renumber(Entry* entry, size_t names) {
  if (!entry->sent || entry->kind != MessageKind::kBatch) return;
  const uint8_t* const begin = entry->payload.data();
  ForEachRecord(entry->payload, 0, [&](auto header, auto, std::span<const uint8_t> record, uint64_t) {
    if (header.command >= names) return;  // a control
    header.command = NumberThere(header.command);
    std::memcpy(entry->payload.data() + (record.data() - begin), &header, sizeof(header));
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  std::string error;
  const auto reader = Reader::Open(argv[1], &error);
  if (reader == nullptr) {
    std::fprintf(stderr, "%s\n", error.c_str());
    return 1;
  }
  Greeting greeting = reader->greeting();
  const size_t names = greeting.hello.commands.size();
  greeting.hello.commands = NamesThere(greeting.hello.commands);
  greeting.hello.fingerprint = kOtherFingerprint;
  const auto writer = Writer::Create(argv[2], greeting, &error);
  if (writer == nullptr) {
    std::fprintf(stderr, "%s\n", error.c_str());
    return 1;
  }
  for (Entry entry; reader->Next(&entry);) {
    Renumber(&entry, names);
    writer->Add(entry);
  }
  return 0;
}
