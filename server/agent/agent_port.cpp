#include "server/agent/agent_port.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "server/base/limits.h"
#include "server/base/log.h"

namespace vesper::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr uint64_t kPage = 4096;
constexpr size_t kPiece = size_t{64} << 10;

struct flock LockOf(short type, const MemoryPlace& place) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(place.offset);
  lock.l_len = static_cast<off_t>(place.size);
  return lock;
}

}  // namespace

std::unique_ptr<AgentPort> AgentPort::Make(Descriptor port, Descriptor file) {
  int ends[2];
  struct stat status {};
  if (fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return nullptr;
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return nullptr;
  Descriptor stream(ends[0]), inner(ends[1]), wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return nullptr;
  std::unique_ptr<AgentPort> made(
      new AgentPort(std::move(port), std::move(file), std::move(stream), std::move(inner), std::move(wake)));
  made->file_bytes_ = static_cast<uint64_t>(status.st_size);
  made->thread_ = std::thread([self = made.get()] { self->Run(); });
  return made;
}

AgentPort::AgentPort(Descriptor port, Descriptor file, Descriptor stream, Descriptor inner, Descriptor wake)
    : port_(std::move(port)),
      file_(std::move(file)),
      stream_(std::move(stream)),
      inner_(std::move(inner)),
      wake_(std::move(wake)) {}

AgentPort::~AgentPort() {
  stop_ = true;
  eventfd_write(wake_.get(), 1);
  thread_.join();
}

// --- to the agent --------------------------------------------------------------------------------------------------------

bool AgentPort::SendFrame(AgentFrame::Kind kind, std::span<const uint8_t> body) {
  const AgentFrame frame{kind, static_cast<uint32_t>(body.size())};
  std::vector<uint8_t> all(sizeof(frame) + body.size());
  std::memcpy(all.data(), &frame, sizeof(frame));
  std::copy(body.begin(), body.end(), all.begin() + sizeof(frame));
  const auto end = steady_clock::now() + limits::kVenusAnswer;
  const std::lock_guard lock(send_mutex_);
  for (size_t at = 0; at < all.size();) {
    const ssize_t count = send(port_.get(), all.data() + at, all.size() - at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count > 0) at += static_cast<size_t>(count);
    if (count >= 0 || errno == EINTR) continue;
    pollfd entry{port_.get(), POLLOUT, 0};
    if (errno != EAGAIN || stop_ || steady_clock::now() > end || poll(&entry, 1, 100) < 0) {
      shutdown(port_.get(), SHUT_RDWR);  // half a frame may be on its way
      return false;
    }
  }
  return true;
}

bool AgentPort::SendNumber(AgentFrame::Kind kind, uint64_t number) {
  return SendFrame(kind, {reinterpret_cast<const uint8_t*>(&number), sizeof(number)});
}

bool AgentPort::Send(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const size_t size = std::min<size_t>(bytes.size(), AgentFrame::kMost);
    if (!SendFrame(AgentFrame::kBytes, bytes.first(size))) return false;
    bytes = bytes.subspan(size);
  }
  return true;
}

bool AgentPort::Pass(uint64_t number) { return SendNumber(AgentFrame::kPass, number); }

bool AgentPort::PassEvent(Descriptor event) {
  uint64_t number;
  {
    const std::lock_guard lock(mutex_);
    number = ++numbers_;
    events_.emplace(number, std::move(event));
  }
  const bool sent = SendNumber(AgentFrame::kPassEvent, number);
  eventfd_write(wake_.get(), 1);
  return sent;
}

void AgentPort::Close() const { shutdown(port_.get(), SHUT_RDWR); }

// When the port's buffer is full it is not nudging that is missing.
void AgentPort::Nudge() {
  pollfd entry{port_.get(), POLLOUT, 0};
  if (poll(&entry, 1, 0) > 0) SendFrame(AgentFrame::kNothing, {});
}

// --- memory --------------------------------------------------------------------------------------------------------------

std::optional<std::string> AgentPort::Check(const AgentFrame::Make& asked,
                                            const std::vector<MemoryPlace>& places) const {
  uint64_t bytes = 0;
  for (const MemoryPlace& place : places) {
    const bool sound = place.offset % kPage == 0 && place.size % kPage == 0 && place.size != 0 &&
                       place.offset <= file_bytes_ && place.size <= file_bytes_ - place.offset &&
                       place.size <= asked.bytes - bytes;
    if (!sound) return "the agent names memory that there is not";
    bytes += place.size;
  }
  if (bytes != asked.bytes) return "the agent made a file of another size";
  return std::nullopt;
}

// Of another session whose program has just ended the last may still be held.
bool AgentPort::Lock(const std::vector<MemoryPlace>& places) {
  const auto end = steady_clock::now() + limits::kVenusAnswer;
  for (size_t i = 0; i < places.size();) {
    struct flock lock = LockOf(F_WRLCK, places[i]);
    const auto next = in_use_.lower_bound(places[i].offset + places[i].size);
    const bool own = next != in_use_.begin() && std::prev(next)->first + std::prev(next)->second > places[i].offset;
    if (!own && fcntl(file_.get(), F_OFD_SETLK, &lock) == 0) {
      in_use_.emplace(places[i].offset, places[i].size);
      ++i;
      continue;
    }
    if (!own && errno == EAGAIN && !stop_ && steady_clock::now() < end) {
      std::this_thread::sleep_for(milliseconds(5));
      continue;
    }
    Unlock({places.begin(), places.begin() + static_cast<ptrdiff_t>(i)});
    return false;
  }
  return true;
}

void AgentPort::Unlock(const std::vector<MemoryPlace>& places) {
  for (const MemoryPlace& place : places) {
    struct flock lock = LockOf(F_UNLCK, place);
    fcntl(file_.get(), F_OFD_SETLK, &lock);
    in_use_.erase(place.offset);
  }
}

std::optional<NumberedPages> AgentPort::Make(uint64_t size) {
  AgentFrame::Make asked{0, size, 0};
  if (size == 0 || size % kPage != 0 || size > file_bytes_ ||
      getrandom(&asked.mark, sizeof(asked.mark), 0) != static_cast<ssize_t>(sizeof(asked.mark))) {
    return std::nullopt;
  }
  std::unique_lock lock(mutex_);
  asked.number = ++numbers_;
  const auto entry = asked_.emplace(asked.number, std::nullopt).first;
  lock.unlock();
  const bool sent = SendFrame(AgentFrame::kMake, {reinterpret_cast<const uint8_t*>(&asked), sizeof(asked)});
  lock.lock();
  changed_.wait_for(lock, limits::kVenusFile, [&] { return !sent || ended_ || entry->second.has_value(); });
  const std::optional<std::vector<MemoryPlace>> places = std::move(entry->second);
  asked_.erase(entry);
  lock.unlock();
  if (!places) return std::nullopt;
  if (places->empty()) {
    Log(LogLevel::kInfo, "the memory of the guest is full: it has no place for {} bytes", size);
    return std::nullopt;
  }
  const std::lock_guard files_lock(files_mutex_);
  std::optional<std::string> wrong = Check(asked, *places);
  if (!wrong && !Lock(*places)) wrong = "the agent names memory that another session has";
  if (!wrong) {
    bool filled = true;
    for (const MemoryPlace& place : *places) {
      filled = filled && fallocate(file_.get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(place.offset),
                                   static_cast<off_t>(place.size)) == 0;
    }
    const auto at = static_cast<off_t>(places->front().offset);
    uint64_t mark = 0;
    if (!filled) {
      wrong = "the host has no memory for it";
    } else if (pread(file_.get(), &mark, sizeof(mark), at) != sizeof(mark) || mark != asked.mark) {
      wrong =
          "the agent's files are not in the memory of this guest: are they on its file system, mounted with "
          "dax=always?";
    }
    mark = 0;
    if (!wrong && pwrite(file_.get(), &mark, sizeof(mark), at) != sizeof(mark)) wrong = "the host cannot write there";
    if (wrong) Unlock(*places);
  }
  if (wrong) {
    Log(LogLevel::kError, "{} bytes of a guest's memory: {}", size, *wrong);
    SendNumber(AgentFrame::kDrop, asked.number);
    return std::nullopt;
  }
  held_.emplace(asked.number, *places);
  return NumberedPages{asked.number, *places};
}

void AgentPort::Drop(uint64_t number) {
  {
    const std::lock_guard lock(files_mutex_);
    if (const auto held = held_.find(number); held != held_.end()) {
      Unlock(held->second);
      held_.erase(held);
    }
  }
  SendNumber(AgentFrame::kDrop, number);
}

// --- from the agent ------------------------------------------------------------------------------------------------------

void AgentPort::Run() {
  sigset_t broken;  // the front end may be gone already
  sigemptyset(&broken);
  sigaddset(&broken, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &broken, nullptr);
  std::vector<pollfd> entries;
  while (!stop_) {
    entries = {{port_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    entries.push_back({pending_.empty() ? -1 : inner_.get(), POLLOUT, 0});
    {
      const std::lock_guard lock(mutex_);
      for (const auto& [number, event] : events_) entries.push_back({event.get(), POLLIN, 0});
    }
    if (poll(entries.data(), entries.size(), -1) < 0 && errno != EINTR) break;
    if (entries[1].revents != 0) {
      eventfd_t ignored;
      eventfd_read(wake_.get(), &ignored);
    }
    TellEvents();
    if (entries[0].revents != 0 && !Read()) break;
    if (!Forward()) break;
  }
  Forward();
  inner_ = Descriptor();
  const std::lock_guard lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

void AgentPort::TellEvents() {
  std::vector<uint64_t> met;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [number, event] : events_) {
      pollfd entry{event.get(), POLLIN, 0};
      if (poll(&entry, 1, 0) > 0) met.push_back(number);
    }
    for (const uint64_t number : met) events_.erase(number);
  }
  for (const uint64_t number : met) SendNumber(AgentFrame::kSignal, number);
}

bool AgentPort::Read() {
  const size_t before = buffer_.size();
  buffer_.resize(before + kPiece);
  const ssize_t count = recv(port_.get(), buffer_.data() + before, kPiece, MSG_DONTWAIT);
  buffer_.resize(before + (count > 0 ? static_cast<size_t>(count) : 0));
  if (count > 0) received_ += static_cast<uint64_t>(count);
  if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return false;
  return TakeFrames();
}

bool AgentPort::TakeFrames() {
  size_t at = 0;
  if (!greeted_) {
    constexpr auto kGreeting = AgentFrame::kGreeting;
    if (buffer_.size() < kGreeting.size()) return true;
    if (!std::equal(kGreeting.begin(), kGreeting.end(), buffer_.begin())) {
      Log(LogLevel::kError, "what begins like vesper-agent is none");
      return false;
    }
    greeted_ = true;
    at = kGreeting.size();
  }
  bool more = true;
  while (more && buffer_.size() - at >= sizeof(AgentFrame)) {
    AgentFrame frame;
    std::memcpy(&frame, buffer_.data() + at, sizeof(frame));
    if (frame.bytes > AgentFrame::kMost) {
      Log(LogLevel::kError, "the agent sends a frame of {} bytes", frame.bytes);
      return false;
    }
    if (buffer_.size() - at - sizeof(frame) < frame.bytes) break;
    more = Take(frame, buffer_.data() + at + sizeof(frame));
    at += sizeof(frame) + frame.bytes;
  }
  buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<ptrdiff_t>(at));
  return more;
}

// False at the end.
bool AgentPort::Take(AgentFrame frame, const uint8_t* body) {
  switch (frame.kind) {
    case AgentFrame::kNothing:
      return true;
    case AgentFrame::kBytes:
      // The front end stops reading while it waits; a driver asks one thing at a time.
      if (frame.bytes > limits::kVenusUnread - std::min(limits::kVenusUnread, pending_.size())) {
        Log(LogLevel::kError, "the driver says more than it lets be answered");
        return false;
      }
      pending_.insert(pending_.end(), body, body + frame.bytes);
      return true;
    case AgentFrame::kMade:
      NoteMade(body, frame.bytes);
      return true;
    case AgentFrame::kEnd:
      return false;
    default:
      Log(LogLevel::kError, "the agent sends a frame of kind {}", frame.kind);
      return false;
  }
}

// What nobody waits for any more is dropped.
void AgentPort::NoteMade(const uint8_t* body, size_t size) {
  uint64_t number = 0;
  if (size < sizeof(number)) return;
  std::memcpy(&number, body, sizeof(number));
  std::vector<MemoryPlace> places;
  for (size_t at = sizeof(number); size - at >= sizeof(AgentFrame::Place); at += sizeof(AgentFrame::Place)) {
    AgentFrame::Place place;
    std::memcpy(&place, body + at, sizeof(place));
    places.push_back({place.offset, place.bytes});
  }
  const std::lock_guard lock(mutex_);
  const auto asked = asked_.find(number);
  if (asked == asked_.end() || asked->second.has_value()) return;
  asked->second = std::move(places);
  changed_.notify_all();
}

bool AgentPort::Forward() {
  size_t at = 0;
  while (at < pending_.size()) {
    const ssize_t count = write(inner_.get(), pending_.data() + at, pending_.size() - at);
    if (count > 0) at += static_cast<size_t>(count);
    if (count < 0 && errno != EAGAIN && errno != EINTR) return false;  // the front end has closed it
    if (count <= 0 && errno == EAGAIN) break;
  }
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<ptrdiff_t>(at));
  return true;
}

}  // namespace vesper::server
