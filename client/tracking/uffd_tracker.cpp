#include "client/tracking/uffd_tracker.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <deque>
#include <vector>

#include "client/base/limits.h"
#include "client/tracking/uffd.h"

namespace vesper::client {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kGroupPages = 64;

// A set of pages.
class PageSet {
 public:
  explicit PageSet(size_t pages) : words_((pages + 63) / 64) {}
  bool Has(size_t page) const { return (words_[page / 64] >> (page % 64) & 1) != 0; }
  void Add(size_t page) { words_[page / 64] |= uint64_t{1} << (page % 64); }
  // Of groups of kGroupPages pages, the first of which has the number 0.
  bool HasGroup(size_t group) const { return words_[group] == ~uint64_t{0}; }
  void AddGroup(size_t group) { words_[group] = ~uint64_t{0}; }
  void Remove(size_t page) { words_[page / 64] &= ~(uint64_t{1} << (page % 64)); }
  // The first member in [from, end), or `end`.
  size_t Next(size_t from, size_t end) const {
    while (from < end) {
      const uint64_t rest = words_[from / 64] >> (from % 64);
      if (rest != 0) return std::min(end, from + static_cast<size_t>(std::countr_zero(rest)));
      from = (from / 64 + 1) * 64;
    }
    return end;
  }

 private:
  std::vector<uint64_t> words_;
};

class UffdTracker final : public Tracker {
 public:
  explicit UffdTracker(uint64_t size)
      : Tracker(size),
        page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))),
        pages_((static_cast<size_t>(size) + page_ - 1) / page_),
        pending_(pages_),
        written_(pages_),
        looked_(pages_),
        rewritten_(pages_ / kGroupPages) {}

  // Huge pages would make a written byte cost 2 MiB to compare.
  bool Watch() {
    madvise(shadow(), pages_ * page_, MADV_NOHUGEPAGE);
    return WatchWrites(shadow(), pages_ * page_);
  }

 protected:
  void CollectRange(uint64_t offset, uint64_t size, ChangeSink sink) override {
    ++round_;
    const size_t begin = static_cast<size_t>(offset);
    const size_t end = static_cast<size_t>(offset + size);
    const size_t first = begin / page_;
    const size_t last = (end + page_ - 1) / page_;
    const auto now = Clock::now();
    TakeAll(first, last, end, now);
    NoteRewritten(first, last);
    for (size_t page = pending_.Next(first, last); page < last; page = pending_.Next(page + 1, last)) {
      bool changed = false;
      if (Look(page, begin, end, sink, &changed)) pending_.Remove(page);
      if (!changed && page / kGroupPages < rewritten_.size()) rewritten_[page / kGroupPages] = 0;
    }
    if (pinned_ || now - last_written_ < limits::kPinsAppearWithin) pinned_ = HasPinnedMemory();
    if (pinned_) {
      for (size_t page = written_.Next(first, last); page < last; page = written_.Next(page + 1, last)) {
        LookAgain(page, begin, end, sink);
      }
    } else {
      LookAtRecent(begin, end, now, sink);
      Sample(begin, end, sink);
    }
  }

  // Without a fault for each page, and without taking what was placed here for something that the application wrote: the pages
  // are recorded again right after, and whatever the application wrote before that differs from the twin.
  void Place(const wire::Run& run) override {
    const size_t first = static_cast<size_t>(run.offset) / page_;
    const size_t last = (static_cast<size_t>(run.offset) + run.extent + page_ - 1) / page_;
    if (run.extent < limits::kPlacedAtOnce || !AllowWrites(shadow() + first * page_, (last - first) * page_)) {
      Tracker::Place(run);
      return;
    }
    Tracker::Place(run);
    PageSet before(last - first);
    for (size_t page = first; page < last; ++page) {
      if (pending_.Has(page)) before.Add(page - first);
    }
    Take(first, last, Clock::now(), true);
    for (size_t page = first; page < last; ++page) {
      const size_t length = std::min(page_, static_cast<size_t>(size()) - page * page_);
      if (!before.Has(page - first) && Equal(page * page_, length)) pending_.Remove(page);
    }
  }

 private:
  struct Region {
    size_t first;
    size_t last;
    Clock::time_point when;
  };

  // Take(), but for groups of pages that the program rewrites wholly again and again, as staging buffers are: not to record its
  // writes saves it a fault for each page, and comparing finds them.
  void TakeAll(size_t first, size_t last, size_t end, Clock::time_point now) {
    size_t begun = first;
    for (size_t group = (first + kGroupPages - 1) / kGroupPages; (group + 1) * kGroupPages <= last; ++group) {
      if (!IsRewritten(group) || (group + 1) * kGroupPages * page_ > end) continue;
      if (begun < group * kGroupPages) Take(begun, group * kGroupPages, now);
      pending_.AddGroup(group);
      begun = (group + 1) * kGroupPages;
    }
    if (begun < last) Take(begun, last, now);
  }

  bool IsRewritten(size_t group) const { return rewritten_[group] >= limits::kRewritings; }

  // A page of a group that turns out not to have changed ends the row.
  void NoteRewritten(size_t first, size_t last) {
    for (size_t group = (first + kGroupPages - 1) / kGroupPages; (group + 1) * kGroupPages <= last; ++group) {
      if (!pending_.HasGroup(group)) {
        rewritten_[group] = 0;
      } else if (rewritten_[group] < limits::kRewritings) {
        ++rewritten_[group];
      }
    }
  }

  // `joins`: to what was taken last, if that is what comes before.
  void Take(size_t first, size_t last, Clock::time_point now, bool joins = false) {
    const auto note = [&](size_t offset, size_t size) {
      const Region region{first + offset / page_, first + (offset + size) / page_, now};
      for (size_t page = region.first; page < region.last; ++page) {
        pending_.Add(page);
        written_.Add(page);
      }
      last_written_ = now;
      if (joins && !recent_.empty() && recent_.back().last == region.first &&
          region.first - recent_.back().first < limits::kMaxJoinedPages) {
        recent_.back().last = region.last;
        recent_.back().when = now;
        return;
      }
      if (recent_.size() == limits::kMaxRegions) recent_.pop_front();
      recent_.push_back(region);
    };
    if (!TakeWrittenPages(shadow() + first * page_, (last - first) * page_, note)) note(0, (last - first) * page_);
  }

  // Compares what of a page lies in [begin, end). True when that is all of it.
  bool Look(size_t page, size_t begin, size_t end, ChangeSink sink, bool* changed) {
    const size_t page_end = std::min((page + 1) * page_, static_cast<size_t>(size()));
    const size_t from = std::max(begin, page * page_);
    const size_t to = std::min(end, page_end);
    *changed = from < to && Compare(from, to - from, sink) != 0;
    looked_[page] = round_;
    return from == page * page_ && to == page_end;
  }
  bool LookAgain(size_t page, size_t begin, size_t end, ChangeSink sink) {
    if (looked_[page] == round_) return false;
    bool changed = false;
    Look(page, begin, end, sink, &changed);
    return true;
  }

  // The last ones first.
  void LookAtRecent(size_t begin, size_t end, Clock::time_point now, ChangeSink sink) {
    while (!recent_.empty() && now - recent_.front().when > limits::kRecentlyWritten) recent_.pop_front();
    size_t left = limits::kRecentPages;
    for (auto region = recent_.rbegin(); region != recent_.rend() && left != 0; ++region) {
      const size_t last = std::min(region->last, (end + page_ - 1) / page_);
      for (size_t page = std::max(region->first, begin / page_); page < last && left != 0; ++page) {
        if (LookAgain(page, begin, end, sink)) --left;
      }
    }
  }

  void Sample(size_t begin, size_t end, ChangeSink sink) {
    const size_t first = begin / page_;
    const size_t last = (end + page_ - 1) / page_;
    if (cursor_ < first || cursor_ >= last) cursor_ = first;
    for (size_t i = 0; i < limits::kSamplePages; ++i) {
      cursor_ = written_.Next(cursor_, last);
      if (cursor_ == last) return;  // the next time begins anew
      LookAgain(cursor_++, begin, end, sink);
    }
  }

  const size_t page_;
  const size_t pages_;
  PageSet pending_;               // written, and not or only in part compared since
  PageSet written_;               // ever
  std::vector<uint32_t> looked_;  // the round in which a page was compared last
  // How often in a row all pages of a group had changed; those beyond the last whole group are in none.
  std::vector<uint8_t> rewritten_;
  uint32_t round_ = 0;
  std::deque<Region> recent_;
  Clock::time_point last_written_{};
  bool pinned_ = false;
  size_t cursor_ = 0;
};

}  // namespace

bool UffdWorks(std::string* why) { return OpenUffd(why); }

std::unique_ptr<Tracker> MakeUffdTracker(uint64_t size) {
  std::string why;
  if (!OpenUffd(&why)) return nullptr;
  auto made = std::make_unique<UffdTracker>(size);
  if (!made->valid() || !made->Watch()) return nullptr;
  return made;
}

void AbandonUffdAfterFork() noexcept { ForgetUffdAfterFork(); }

}  // namespace vesper::client
