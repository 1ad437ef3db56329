// renumber_recording newer|older IN OUT: a recording as the client of another registry would have made it, whose commands have other
// numbers: commands that nobody knows yet stand among those of a newer one; an older one has none but those that are used. A
// session with it goes by names.
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tools/recording/dialect.h"
#include "tools/recording/recording.h"

using namespace vesper;                    // NOLINT(google-build-using-namespace): a program of one page
using namespace vesper::tools::recording;  // NOLINT(google-build-using-namespace): the same

namespace {

constexpr uint64_t kOtherFingerprint = 0x6f74686572;
constexpr size_t kKnownBetween = 5;  // so many names that are known for each that is not

struct Numbering {
  std::vector<std::string> names;
  std::map<uint16_t, uint16_t> numbers;  // there, by those here

  void Add(std::string name) { names.push_back(std::move(name)); }
  void Add(uint16_t number, const std::string& name) {
    numbers[number] = static_cast<uint16_t>(names.size());
    names.push_back(name);
  }
};

Numbering Newer(const std::vector<std::string>& names) {
  Numbering there;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i % kKnownBetween == 0) there.Add("vkCommandOfTheFuture" + std::to_string(i));
    there.Add(static_cast<uint16_t>(i), names[i]);
  }
  return there;
}

Numbering Older(const std::vector<std::string>& names, const std::set<uint16_t>& used) {
  Numbering there;
  for (const uint16_t number : used) there.Add(number, names[number]);
  return there;
}

// Calls visit(header, where it stands) for each command that the client sent.
template <typename Visit>
void ForEachCommand(const Entry& entry, size_t names, Visit visit) {
  if (!entry.sent || entry.kind != MessageKind::kBatch) return;
  const uint8_t* const begin = entry.payload.data();
  ForEachRecord(entry.payload, 0, [&](const auto& header, auto, std::span<const uint8_t> record, uint64_t) {
    if (header.command < names) visit(header, static_cast<size_t>(record.data() - begin));  // else a control
  });
}

int Run(const std::string_view kind, const char* in, const char* out) {
  std::string error;
  const auto reader = Reader::Open(in, &error);
  if (reader == nullptr) {
    std::fprintf(stderr, "%s\n", error.c_str());
    return 1;
  }
  Greeting greeting = reader->greeting();
  const std::vector<std::string> names = greeting.hello.commands;
  std::vector<Entry> entries;
  std::set<uint16_t> used;
  for (Entry entry; reader->Next(&entry);) {
    ForEachCommand(entry, names.size(), [&](const auto& header, size_t) { used.insert(header.command); });
    entries.push_back(entry);
  }
  const Numbering there = kind == "newer" ? Newer(names) : Older(names, used);
  greeting.hello.commands = there.names;
  greeting.hello.fingerprint = kOtherFingerprint;
  const auto writer = Writer::Create(out, greeting, &error);
  if (writer == nullptr) {
    std::fprintf(stderr, "%s\n", error.c_str());
    return 1;
  }
  for (Entry& entry : entries) {
    ForEachCommand(entry, names.size(), [&](auto header, size_t at) {
      header.command = there.numbers.at(header.command);
      std::memcpy(entry.payload.data() + at, &header, sizeof(header));
    });
    writer->Add(entry);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return argc == 4 ? Run(argv[1], argv[2], argv[3]) : 2; }
