#include "tools/recording/recording.h"

#include <fcntl.h>
#include <lz4.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "runtime/wire/decoder.h"
#include "runtime/wire/encoder.h"
#include "runtime/wire/limits.h"

namespace vesper::tools::recording {
namespace {

using Clock = std::chrono::steady_clock;

constexpr char kMagic[] = "vesper recording 1\n";
constexpr size_t kMagicBytes = sizeof(kMagic) - 1;
constexpr uint32_t kChunkMagic = 0x4b4e4843;  // "CHNK"

struct ChunkHead {
  uint32_t magic = kChunkMagic;
  uint32_t stored = 0;  // bytes that follow
  uint32_t size = 0;    // of them when uncompressed; equal to `stored`: they are not compressed
  uint32_t reserved = 0;
  uint64_t hash = 0;  // XXH3 of the bytes that follow
};
static_assert(sizeof(ChunkHead) == 24);

struct EntryHead {
  uint64_t ns = 0;
  uint64_t sequence = 0;
  uint32_t size = 0;
  uint8_t sent = 0;
  uint8_t kind = 0;
  uint16_t reserved = 0;
};
static_assert(sizeof(EntryHead) == 24);

// A chunk is written when it has grown to this, or after this long: a process that is killed loses no more.
constexpr size_t kChunkBytes = size_t{256} << 10;
constexpr std::chrono::milliseconds kChunkTime{50};
constexpr size_t kMaxChunkBytes = wire::kMaxMessageBytes + kChunkBytes + sizeof(EntryHead);
constexpr uint32_t kMaxNames = 1u << 16;

bool WriteAll(int file, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return true;
}

// How many bytes were there.
size_t ReadAll(int file, std::span<uint8_t> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = read(file, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    done += static_cast<size_t>(count);
  }
  return done;
}

template <typename T>
std::span<const uint8_t> BytesOf(const T& value) {
  return {reinterpret_cast<const uint8_t*>(&value), sizeof(value)};
}

void Put(std::vector<uint8_t>* out, std::span<const uint8_t> bytes) {
  out->insert(out->end(), bytes.begin(), bytes.end());
}

void PutNames(wire::Encoder* out, const std::vector<std::string>& names) {
  wire::Store(out->Take(4), static_cast<uint32_t>(names.size()));
  for (const std::string& name : names) out->String(name.c_str());
}

std::vector<std::string> TakeNames(wire::Decoder* in) {
  std::vector<std::string> names;
  const uint32_t count = in->Count(wire::Load<uint32_t>(in->Take(4)), 4);
  for (uint32_t i = 0; i < count && i < kMaxNames && in->ok(); ++i) {
    const char* name = in->String();
    names.emplace_back(name == nullptr ? "" : name);
  }
  return names;
}

// The greeting as the payload of the first entry.
struct Fixed {
  uint32_t protocol, page_size;
  uint64_t fingerprint, server_fingerprint;
  uint32_t max_objects, flags;
};
constexpr uint32_t kValidation = 1, kAnonymous = 2;

void Encode(const Greeting& greeting, wire::ByteBuffer* out) {
  const uint32_t flags = (greeting.hello.validation ? kValidation : 0) | (greeting.anonymous ? kAnonymous : 0);
  const Fixed fixed{greeting.hello.protocol,     greeting.hello.page_size, greeting.hello.fingerprint,
                    greeting.server_fingerprint, greeting.max_objects,     flags};
  wire::Encoder encoder(out);
  encoder.Bytes(&fixed, sizeof(fixed));
  encoder.String(greeting.hello.program.c_str());
  PutNames(&encoder, greeting.hello.commands);
  PutNames(&encoder, greeting.hello.handle_types);
}

bool Decode(std::span<const uint8_t> bytes, Greeting* greeting) {
  Arena arena(wire::kMaxHandshakeBytes);
  wire::Decoder decoder(bytes, &arena);
  const auto fixed = wire::Load<Fixed>(decoder.Take(sizeof(Fixed)));
  greeting->hello.protocol = fixed.protocol;
  greeting->hello.page_size = fixed.page_size;
  greeting->hello.fingerprint = fixed.fingerprint;
  greeting->hello.validation = (fixed.flags & kValidation) != 0;
  greeting->server_fingerprint = fixed.server_fingerprint;
  greeting->max_objects = fixed.max_objects;
  greeting->anonymous = (fixed.flags & kAnonymous) != 0;
  const char* program = decoder.String();
  greeting->hello.program = program == nullptr ? "" : program;
  greeting->hello.commands = TakeNames(&decoder);
  greeting->hello.handle_types = TakeNames(&decoder);
  return decoder.ok() && !greeting->hello.commands.empty();
}

}  // namespace

// --- writing -------------------------------------------------------------------------------------------------------------

std::unique_ptr<Writer> Writer::Create(const std::string& path, const Greeting& greeting, std::string* error) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) {
    *error = "cannot write " + path + ": " + std::strerror(errno);
    return nullptr;
  }
  std::unique_ptr<Writer> writer(new Writer(file));
  wire::ByteBuffer encoded;
  Encode(greeting, &encoded);
  const bool begun = WriteAll(file, {reinterpret_cast<const uint8_t*>(kMagic), kMagicBytes});
  Entry first;
  first.sent = true;
  first.kind = MessageKind::kHello;
  const MutexLock lock(writer->mutex_);
  writer->stored_bytes_ = kMagicBytes;
  writer->Append(first, {encoded.data(), encoded.size()});
  writer->Write();
  writer->messages_ = 0;
  if (begun && writer->error_.empty()) return writer;
  *error = "cannot write " + path + ": " + std::strerror(errno);
  return nullptr;
}

Writer::~Writer() { Flush(); }

void Writer::Flush() {
  const MutexLock lock(mutex_);
  Write();
}

bool Writer::Add(bool sent, MessageKind kind, uint64_t sequence, std::span<const uint8_t> payload) {
  const MutexLock lock(mutex_);  // the time is that of the order in the file
  Entry entry;
  entry.ns = static_cast<uint64_t>((Clock::now() - begin_).count());
  entry.sent = sent;
  entry.kind = kind;
  entry.sequence = sequence;
  Append(entry, payload);
  return error_.empty();
}

bool Writer::Add(const Entry& entry) {
  const MutexLock lock(mutex_);
  Append(entry, entry.payload);
  return error_.empty();
}

void Writer::Append(const Entry& entry, std::span<const uint8_t> payload) {
  if (!error_.empty()) return;
  EntryHead head;
  head.ns = entry.ns;
  head.sequence = entry.sequence;
  head.size = static_cast<uint32_t>(payload.size());
  head.sent = entry.sent ? 1 : 0;
  head.kind = static_cast<uint8_t>(entry.kind);
  if (chunk_.empty()) chunk_since_ = Clock::now();
  Put(&chunk_, BytesOf(head));
  Put(&chunk_, payload);
  ++messages_;
  if (chunk_.size() >= kChunkBytes || Clock::now() - chunk_since_ > kChunkTime) Write();
}

void Writer::Tick() {
  const MutexLock lock(mutex_);
  if (!chunk_.empty() && Clock::now() - chunk_since_ > kChunkTime) Write();
}

void Writer::Write() {
  if (chunk_.empty() || !error_.empty()) return;
  const int size = static_cast<int>(chunk_.size());
  stored_.resize(sizeof(ChunkHead) + static_cast<size_t>(LZ4_compressBound(size)));
  auto* const out = reinterpret_cast<char*>(stored_.data() + sizeof(ChunkHead));
  int stored = LZ4_compress_default(reinterpret_cast<const char*>(chunk_.data()), out, size, LZ4_compressBound(size));
  if (stored <= 0 || stored >= size) {
    std::memcpy(out, chunk_.data(), chunk_.size());
    stored = size;
  }
  ChunkHead head;
  head.stored = static_cast<uint32_t>(stored);
  head.size = static_cast<uint32_t>(size);
  head.hash = XXH3_64bits(out, head.stored);
  std::memcpy(stored_.data(), &head, sizeof(head));
  stored_.resize(sizeof(head) + head.stored);
  if (!WriteAll(file_.get(), stored_)) error_ = std::string("cannot write the recording: ") + std::strerror(errno);
  stored_bytes_ += stored_.size();
  chunk_.clear();
  if (chunk_.capacity() > 4 * kChunkBytes) std::vector<uint8_t>().swap(chunk_);
}

uint64_t Writer::messages() {
  const MutexLock lock(mutex_);
  return messages_;
}

uint64_t Writer::stored_bytes() {
  const MutexLock lock(mutex_);
  return stored_bytes_;
}

std::string Writer::error() {
  const MutexLock lock(mutex_);
  return error_;
}

// --- reading -------------------------------------------------------------------------------------------------------------

std::unique_ptr<Reader> Reader::Open(const std::string& path, std::string* error) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    *error = path + ": " + std::strerror(errno);
    return nullptr;
  }
  std::unique_ptr<Reader> reader(new Reader(file));
  if (reader->ReadGreeting(error)) return reader;
  *error = path + " " + *error;
  return nullptr;
}

bool Reader::ReadGreeting(std::string* error) {
  uint8_t magic[kMagicBytes] = {};
  if (ReadAll(file_.get(), magic) != kMagicBytes || std::memcmp(magic, kMagic, kMagicBytes) != 0) {
    *error = "is no recording that this version of `vesper` can read";
    return false;
  }
  Entry first;
  if (Next(&first) && first.kind == MessageKind::kHello && Decode(first.payload, &greeting_)) return true;
  *error = flaw_.empty() ? "does not say how its session began" : flaw_;
  return false;
}

bool Reader::ReadChunk() {
  at_ = 0;
  chunk_.clear();
  ChunkHead head;
  const size_t there = ReadAll(file_.get(), {reinterpret_cast<uint8_t*>(&head), sizeof(head)});
  if (there == 0) return false;
  const bool whole = there == sizeof(head) && head.magic == kChunkMagic;
  if (!whole || head.stored > head.size || head.size > kMaxChunkBytes) {
    flaw_ = "ends with something that is no chunk";
    return false;
  }
  stored_.resize(head.stored);
  if (ReadAll(file_.get(), stored_) != head.stored) {
    flaw_ = "ends within a chunk, as when its writer was killed";
    return false;
  }
  if (XXH3_64bits(stored_.data(), stored_.size()) != head.hash) {
    flaw_ = "has a chunk whose bytes were changed";
    return false;
  }
  if (head.stored == head.size) {
    chunk_.swap(stored_);
    return true;
  }
  chunk_.resize(head.size);
  const int size =
      LZ4_decompress_safe(reinterpret_cast<const char*>(stored_.data()), reinterpret_cast<char*>(chunk_.data()),
                          static_cast<int>(head.stored), static_cast<int>(head.size));
  if (size == static_cast<int>(head.size)) return true;
  flaw_ = "has a chunk that is not LZ4";
  chunk_.clear();
  return false;
}

bool Reader::Next(Entry* entry) {
  if (!flaw_.empty() || (at_ == chunk_.size() && !ReadChunk())) return false;
  const std::span<const uint8_t> rest = std::span<const uint8_t>(chunk_).subspan(at_);
  const EntryHead head = rest.size() < sizeof(EntryHead) ? EntryHead{} : wire::Load<EntryHead>(rest.data());
  if (rest.size() < sizeof(EntryHead) || head.size > rest.size() - sizeof(EntryHead)) {
    flaw_ = "has a chunk that ends within a message";
    return false;
  }
  entry->ns = head.ns;
  entry->sent = head.sent != 0;
  entry->kind = static_cast<MessageKind>(head.kind);
  entry->sequence = head.sequence;
  const auto payload = rest.subspan(sizeof(EntryHead), head.size);
  entry->payload.assign(payload.begin(), payload.end());
  at_ += sizeof(EntryHead) + head.size;
  return true;
}

}  // namespace vesper::tools::recording
