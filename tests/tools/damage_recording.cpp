// damage_recording IN OUT: copies a recording, but for one bit of what the server said last of a memory object: a replay that
// compares must notice.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "runtime/wire/control.h"
#include "runtime/wire/memory_runs.h"
#include "tools/recording/dialect.h"
#include "tools/recording/recording.h"

using namespace vesper;                    // NOLINT(google-build-using-namespace): a program of one page
using namespace vesper::tools::recording;  // NOLINT(google-build-using-namespace): the same

namespace {

// Where in the event the first byte of memory stands that it brings; 0 for none.
size_t FirstByte(const Entry& entry) {
  size_t found = 0;
  if (entry.sent || entry.kind != MessageKind::kEvent) return 0;
  ForEachRecord(entry.payload, 0, [&](const auto& header, std::span<const uint8_t> body, auto, uint64_t) {
    if (header.command != static_cast<uint16_t>(wire::EventKind::kMemoryChanged)) return;
    std::span<const uint8_t> rest = body.subspan(sizeof(wire::MemoryRuns));
    wire::Run run;
    if (wire::NextRun(&rest, &run) && !run.bytes.empty()) {
      found = static_cast<size_t>(run.bytes.data() - entry.payload.data());
    }
  });
  return found;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  std::string error;
  const auto reader = Reader::Open(argv[1], &error);
  const auto writer = reader == nullptr ? nullptr : Writer::Create(argv[2], reader->greeting(), &error);
  if (writer == nullptr) {
    std::fprintf(stderr, "%s\n", error.c_str());
    return 1;
  }
  std::vector<Entry> entries;
  for (Entry entry; reader->Next(&entry);) entries.push_back(entry);
  bool damaged = false;
  for (size_t i = entries.size(); i-- > 0 && !damaged;) {
    const size_t at = FirstByte(entries[i]);
    if (at != 0) entries[i].payload[at] ^= 0x10;
    damaged = at != 0;
  }
  for (const Entry& entry : entries) writer->Add(entry);
  return damaged ? 0 : 1;
}
