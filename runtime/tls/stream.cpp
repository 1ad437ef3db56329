#include "runtime/tls/stream.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace vesper::tls {
namespace {

constexpr size_t kRecordsAtOnce = 4;
constexpr size_t kOutboxBytes = (kRecordsAtOnce + 1) * (kRecordPlain + kRecordOverhead);  // and a change of keys
constexpr size_t kInboxBytes = size_t{64} << 10;
constexpr size_t kMaxPieces = 64;
constexpr size_t kMaxIdleRecords = 32;

constexpr uint8_t kNewSessionTicket = 4, kKeyUpdate = 24;
constexpr size_t kKeyUpdateBytes = 5;
constexpr uint8_t kCloseNotify = 0;

// Where the next byte of scattered pieces is.
class Cursor {
 public:
  explicit Cursor(std::span<const iovec> pieces) : pieces_(pieces) { Skip(); }
  bool done() const { return at_ == pieces_.size(); }
  // The rest of the piece at hand.
  std::span<uint8_t> here() const {
    return {static_cast<uint8_t*>(pieces_[at_].iov_base) + offset_, pieces_[at_].iov_len - offset_};
  }
  void Advance(size_t count) {
    offset_ += count;
    Skip();
  }

 private:
  void Skip() {
    while (at_ < pieces_.size() && offset_ == pieces_[at_].iov_len) {
      ++at_;
      offset_ = 0;
    }
  }
  std::span<const iovec> pieces_;
  size_t at_ = 0, offset_ = 0;
};

}  // namespace

std::unique_ptr<Stream> Stream::Make(int socket, const Secrets& secrets, End end, std::string* error) {
  const OpenSsl* ssl = Open(error);
  if (ssl == nullptr) return nullptr;
  std::unique_ptr<Stream> stream(new Stream(socket));
  const bool client = end == End::kClient;
  stream->sealer_ = RecordCipher::Make(*ssl, secrets.suite, client ? secrets.client : secrets.server,
                                       RecordCipher::Use::kSeal, error);
  stream->opener_ = RecordCipher::Make(*ssl, secrets.suite, client ? secrets.server : secrets.client,
                                       RecordCipher::Use::kOpen, error);
  if (stream->sealer_ == nullptr || stream->opener_ == nullptr) return nullptr;
  stream->outbox_.reset(new uint8_t[kOutboxBytes]);
  stream->inbox_.reset(new uint8_t[kInboxBytes]);
  stream->opened_.reset(new uint8_t[kRecordBody]);
  return stream;
}

bool Stream::Flush() {
  while (unsent()) {
    const ssize_t count = ::send(socket_, &outbox_[sent_], sealed_ - sent_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    sent_ += static_cast<size_t>(count);
  }
  return true;
}

bool Stream::SealKeyUpdate() {
  std::array<uint8_t, kKeyUpdateBytes> message = {kKeyUpdate, 0, 0, 1, 0};  // the peer need not change its own
  const iovec piece{message.data(), message.size()};
  const size_t size = sealer_->Seal(RecordType::kHandshake, {&piece, 1}, &outbox_[sealed_]);
  sealed_ += size;
  return size != 0 && sealer_->Update();
}

ssize_t Stream::Send(std::span<const iovec> pieces) {
  if (!Flush()) return -1;
  sent_ = sealed_ = 0;
  const bool update = update_wanted_.exchange(false) || sealer_->records() >= records_of_a_key_;
  if (update && !SealKeyUpdate()) {
    errno = EPROTO;
    return -1;
  }
  Cursor cursor(pieces);
  size_t taken = 0;
  for (size_t records = 0; records < kRecordsAtOnce && !cursor.done(); ++records) {
    std::array<iovec, kMaxPieces> parts;
    size_t count = 0, bytes = 0;
    for (; count < parts.size() && bytes < kRecordPlain && !cursor.done(); ++count) {
      const auto part = cursor.here().first(std::min(cursor.here().size(), kRecordPlain - bytes));
      parts[count] = {part.data(), part.size()};
      bytes += part.size();
      cursor.Advance(part.size());
    }
    const size_t size = sealer_->Seal(RecordType::kData, std::span(parts).first(count), &outbox_[sealed_]);
    if (size == 0) {
      errno = EPROTO;
      return -1;
    }
    sealed_ += size;
    taken += bytes;
  }
  if (!Flush() && errno != EAGAIN && errno != EWOULDBLOCK) return -1;
  return static_cast<ssize_t>(taken);
}

size_t Stream::RecordBytes() const {
  if (end_ - begin_ < kRecordHeader) return 0;
  return kRecordHeader + size_t{inbox_[begin_ + 3]} * 256 + inbox_[begin_ + 4];
}

ssize_t Stream::Fill(bool* drained) {
  std::memmove(&inbox_[0], &inbox_[begin_], end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  for (;;) {
    const ssize_t count = ::recv(socket_, &inbox_[end_], kInboxBytes - end_, MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count > 0) {
      *drained = static_cast<size_t>(count) < kInboxBytes - end_;
      end_ += static_cast<size_t>(count);
    }
    return count;
  }
}

ssize_t Stream::Receive(std::span<const iovec> pieces) {
  Cursor cursor(pieces);
  size_t total = 0;
  bool drained = false;
  while (!cursor.done() && !ended_) {
    size_t got = 0;
    const std::span<uint8_t> room = cursor.here();
    const size_t record = RecordBytes();
    if (opened_begin_ != opened_end_) {
      got = std::min(room.size(), opened_end_ - opened_begin_);
      std::memcpy(room.data(), &opened_[opened_begin_], got);
      opened_begin_ += got;
    } else if (record > kRecordHeader + kRecordBody ||
               (record != 0 && (inbox_[begin_] != 23 || record < kRecordOverhead))) {
      Fail("what came is no record of TLS 1.3");
    } else if (record != 0 && end_ - begin_ >= record) {
      OpenRecord(room, &got);
    } else if (drained) {
      break;
    } else if (const ssize_t filled = Fill(&drained); filled <= 0) {
      if (total != 0) break;  // the next call meets it again
      return filled;
    }
    if (!error_.empty()) break;
    cursor.Advance(got);
    total += got;
  }
  if (total != 0 || (ended_ && error_.empty())) return static_cast<ssize_t>(total);
  errno = error_.empty() ? EAGAIN : EPROTO;
  return -1;
}

void Stream::Fail(std::string error) {
  if (error_.empty()) error_ = std::move(error);
  ended_ = true;
}

void Stream::OpenRecord(std::span<uint8_t> room, size_t* got) {
  const std::span<const uint8_t> record(&inbox_[begin_], RecordBytes());
  begin_ += record.size();
  // Into its place, where it has room with its type and padding.
  const bool in_place = room.size() >= record.size() - kRecordHeader - kRecordTag;
  uint8_t* out = in_place ? room.data() : opened_.get();
  size_t content = 0;
  RecordType type{};
  if (!opener_->Open(record, out, &content, &type)) return Fail("a record of the connection is not as it was sent");
  idle_records_ = type == RecordType::kData && content != 0 ? 0 : idle_records_ + 1;
  if (idle_records_ > kMaxIdleRecords) return Fail("the peer sends nothing, again and again");
  if (type != RecordType::kData) return TakeOther(type, {out, content});
  if (in_place) {
    *got = content;
  } else {
    opened_begin_ = 0;
    opened_end_ = content;
  }
}

void Stream::TakeOther(RecordType type, std::span<const uint8_t> content) {
  if (type == RecordType::kAlert && content.size() == 2) {
    ended_ = true;
    if (content[1] == kCloseNotify) return;
    std::string ignored;
    return Fail(std::string("the peer ended the connection: ") +
                Open(&ignored)->SSL_alert_desc_string_long(content[1]));
  }
  if (type != RecordType::kHandshake || content.empty()) return Fail("the peer sent a record that has no meaning here");
  if (content[0] == kNewSessionTicket) return;  // another server's habit
  if (content[0] != kKeyUpdate || content.size() != kKeyUpdateBytes) return Fail("the peer shakes hands once more");
  if (content[4] == 1) update_wanted_.store(true);
  if (!opener_->Update()) Fail("the connection's key cannot be changed");
}

}  // namespace vesper::tls
