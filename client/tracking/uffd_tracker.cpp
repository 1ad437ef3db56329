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

constexpr size_t kGroupPages = limits::kGroupBytes / limits::kBlockBytes;
static_assert(64 % kGroupPages == 0);

// A set of pages.
class PageSet {
 public:
  explicit PageSet(size_t pages) : words_((pages + 63) / 64) {}
  bool Has(size_t page) const { return (words_[page / 64] >> (page % 64) & 1) != 0; }
  void Add(size_t page) { words_[page / 64] |= uint64_t{1} << (page % 64); }
  // Of groups of kGroupPages pages, the first of which has the number 0.
  bool HasGroup(size_t group) const { return (words_[group / kGroups] & MaskOf(group)) == MaskOf(group); }
  void AddGroup(size_t group) { words_[group / kGroups] |= MaskOf(group); }
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
  static constexpr size_t kGroups = 64 / kGroupPages;  // of a word
  static uint64_t MaskOf(size_t group) {
    constexpr uint64_t kGroup = kGroupPages == 64 ? ~uint64_t{0} : (uint64_t{1} << kGroupPages % 64) - 1;
    return kGroup << (group % kGroups * kGroupPages);
  }

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
        stale_(pages_),
        habits_(pages_ / kGroupPages),
        streaks_(pages_ / kGroupPages) {}

  // Huge pages would make a written byte cost 2 MiB to compare.
  bool Watch() {
    madvise(shadow(), pages_ * page_, MADV_NOHUGEPAGE);
    return WatchWrites(shadow(), pages_ * page_);
  }

 protected:
  void CollectRange(uint64_t offset, uint64_t size, const Search& search, ChangeSink sink) override {
    const auto now = Clock::now();
    const size_t begin = static_cast<size_t>(offset);
    const size_t end = static_cast<size_t>(offset + size);
    const size_t first = begin / page_;
    const size_t last = (end + page_ - 1) / page_;
    whole_ = page_ == limits::kBlockBytes ? search.whole : Search::Whole::kNever;
    if (search.trigger == 0 || search.trigger != trigger_) BeginTrigger(search.trigger, now);
    TakeAll(first, last, end, now);
    Group group;
    for (size_t page = pending_.Next(first, last); page < last; page = pending_.Next(page + 1, last)) {
      if (page / kGroupPages != group.number) {
        EndGroup(group);
        group = BeginGroup(page / kGroupPages, begin, end);
      }
      size_t changed = 0;
      if (Look(page, begin, end, group.whole, sink, &changed)) pending_.Remove(page);
      group.dense = group.dense && changed >= limits::kDensePage;
      if (changed != 0) ++group.changed;
    }
    EndGroup(group);
    if (!pins_read_ && (pinned_ || now - last_written_ < limits::kPinsAppearWithin)) {
      pinned_ = HasPinnedMemory();
      pins_read_ = true;
    }
    if (pinned_) {
      for (size_t page = written_.Next(first, last); page < last; page = written_.Next(page + 1, last)) {
        LookAgain(page, begin, end, sink);
      }
    } else {
      for (const size_t page : again_) {
        if (page >= first && page < last) LookAgain(page, begin, end, sink);
      }
    }
  }

  void SettleRange(uint64_t offset, uint64_t size, ChangeSink sink) override {
    const size_t last = (static_cast<size_t>(offset + size) + page_ - 1) / page_;
    for (size_t page = stale_.Next(static_cast<size_t>(offset) / page_, last); page < last;
         page = stale_.Next(page + 1, last)) {
      const auto [at, length] = PlaceOf(page);
      TakeWhole(at, length, &digests_[page], sink, true);
      stale_.Remove(page);
    }
  }

  void Place(std::span<const wire::Run> runs) override {
    while (!runs.empty()) {
      size_t count = 1;
      Row row{FirstPage(runs[0]), EndPage(runs[0])};
      // Whose pages follow each other, or are the same.
      while (count < runs.size() && FirstPage(runs[count]) >= row.first && FirstPage(runs[count]) <= row.last) {
        row.last = std::max(row.last, EndPage(runs[count++]));
      }
      PlaceRow(runs.first(count), row);
      runs = runs.subspan(count);
    }
  }

 private:
  struct Row {
    size_t first;
    size_t last;
  };
  size_t FirstPage(const wire::Run& run) const { return static_cast<size_t>(run.offset) / page_; }
  size_t EndPage(const wire::Run& run) const {
    return (static_cast<size_t>(run.offset) + run.extent + page_ - 1) / page_;
  }

  // Without a fault for each page, and without taking what was placed here for something that the application wrote: the pages
  // are recorded again right after, and whatever the application wrote before that differs from the twin.
  void PlaceRow(std::span<const wire::Run> runs, const Row& row) {
    const size_t bytes = (row.last - row.first) * page_;
    if (bytes < limits::kPlacedAtOnce || !AllowWrites(shadow() + row.first * page_, bytes)) {
      Tracker::Place(runs);
      return;
    }
    Tracker::Place(runs);
    PageSet before(row.last - row.first);
    for (size_t page = row.first; page < row.last; ++page) {
      if (pending_.Has(page)) before.Add(page - row.first);
    }
    Take(row.first, row.last, Clock::now(), true);
    for (size_t page = row.first; page < row.last; ++page) {
      const size_t length = std::min(page_, static_cast<size_t>(size()) - page * page_);
      if (!before.Has(page - row.first) && Equal(page * page_, length)) pending_.Remove(page);
    }
  }

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

  bool IsRewritten(size_t group) const { return habits_[group].rewritten >= habits_[group].wanted; }

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

  struct Part {
    size_t at;
    size_t length;
  };
  Part PlaceOf(size_t page) const {
    const size_t at = page * page_;
    return {at, std::min(page_, static_cast<size_t>(size()) - at)};
  }

  // How a group of pages is looked at.
  struct Group {
    size_t number = SIZE_MAX;
    bool inside = false;  // all of it is searched
    bool full = false;    // and was written
    bool whole = false;   // and is sent without a look at the twin
    bool dense = true;    // nearly all of each page has changed
    size_t changed = 0;   // pages
  };
  Group BeginGroup(size_t number, size_t begin, size_t end) const {
    Group group{.number = number};
    const size_t from = number * kGroupPages * page_;
    const size_t to = from + kGroupPages * page_;
    group.inside = number < streaks_.size() && begin <= from && to <= end;
    group.full = group.inside && pending_.HasGroup(number);
    if (!group.full || whole_ == Search::Whole::kNever) return group;
    const Streak& streak = streaks_[number];
    group.whole = streak.dense >= limits::kRewritings ||
                  (whole_ == Search::Whole::kAnything && streak.written >= limits::kRewritings);
    return group;
  }
  // Now and then a group is compared again, to see whether it is still dense.
  void EndGroup(const Group& group) {
    if (!group.inside) return;
    NoteHabit(group);
    if (group.full && group.changed == 0) return;
    Streak& streak = streaks_[group.number];
    if (!group.full || ++streak.age >= limits::kWholeRounds) {
      streak = {};
      return;
    }
    if (streak.written < limits::kRewritings) ++streak.written;
    if (!group.whole && (!group.dense || streak.dense < limits::kRewritings)) {
      streak.dense = group.dense ? streak.dense + 1 : 0;
    }
  }

  // A look in vain at a group that is not recorded costs a fraction of the faults that recording it does, so some of them are
  // put up with after each rewriting; a program whose rewritings are too rare for that has to show more of them the next time.
  void NoteHabit(const Group& group) {
    Habit& habit = habits_[group.number];
    if (group.full && group.changed == kGroupPages) {
      if (IsRewritten(group.number)) habit.wanted = limits::kRewritings;
      habit.rewritten = std::min<uint8_t>(habit.rewritten + 1, limits::kMostRewritings);
      habit.vain = 0;
    } else if (group.changed != 0 || !IsRewritten(group.number)) {
      habit.rewritten = 0;
    } else if (++habit.vain > limits::kLooksInVain) {
      habit = {.wanted = std::min<uint8_t>(habit.wanted * 2, limits::kMostRewritings)};
    }
  }

  // Compares what of a page lies in [begin, end), or sends all of it. True when that is all of it.
  bool Look(size_t page, size_t begin, size_t end, bool whole, ChangeSink sink, size_t* changed) {
    const auto [at, length] = PlaceOf(page);
    const size_t from = std::max(begin, at);
    const size_t to = std::min(end, at + length);
    const bool all = from == at && to == at + length;
    looked_[page] = round_;
    if (from >= to || (whole && !stale_.Has(page) && Equal(at, length))) {
      *changed = 0;
    } else if (whole) {
      if (digests_.empty()) digests_.resize(pages_);
      if (!stale_.Has(page)) digests_[page] = 0;
      stale_.Add(page);
      *changed = TakeWhole(at, length, &digests_[page], sink, false) ? length : 0;
    } else if (stale_.Has(page)) {
      uint64_t unknown = 0;  // of a part of the page
      *changed = TakeWhole(from, to - from, all ? &digests_[page] : &unknown, sink, true) ? to - from : 0;
      if (*changed != 0 && all) stale_.Remove(page);
    } else {
      *changed = Compare(from, to - from, sink);
    }
    return all;
  }
  void LookAgain(size_t page, size_t begin, size_t end, ChangeSink sink) {
    size_t changed = 0;
    if (looked_[page] != round_) Look(page, begin, end, false, sink, &changed);
  }

  // Which pages all searches of a trigger look at although nobody is known to have written them: those written last, and some of
  // the others in turn.
  void BeginTrigger(uint64_t trigger, Clock::time_point now) {
    trigger_ = trigger;
    ++round_;
    pins_read_ = false;
    again_.clear();
    while (!recent_.empty() && now - recent_.front().when > limits::kRecentlyWritten) recent_.pop_front();
    for (auto region = recent_.rbegin(); region != recent_.rend() && again_.size() < limits::kRecentPages; ++region) {
      for (size_t page = region->last; page > region->first && again_.size() < limits::kRecentPages; --page) {
        again_.push_back(page - 1);
      }
    }
    for (size_t i = 0; i < limits::kSamplePages; ++i) {
      cursor_ = written_.Next(cursor_, pages_);
      if (cursor_ == pages_) break;
      again_.push_back(cursor_++);
    }
    if (cursor_ >= pages_) cursor_ = 0;
  }

  const size_t page_;
  const size_t pages_;
  PageSet pending_;               // written, and not or only in part compared since
  PageSet written_;               // ever
  std::vector<uint32_t> looked_;  // the round in which a page was compared last
  // Sent wholly, without a look at the twin, which does not have them: what the server has is known by a digest.
  PageSet stale_;
  std::vector<uint64_t> digests_;  // of these; empty while there never were any
  // How often in a row, when any page of a group was written, all of them had changed, and how often that must be for its writes
  // to be no longer recorded; looks in vain since then. Pages beyond the last whole group are in none.
  struct Habit {
    uint8_t rewritten = 0, wanted = limits::kRewritings, vain = 0;
  };
  std::vector<Habit> habits_;
  // How often in a row, when any of a group was written, all of it was, and nearly all of its bytes had changed; at the latest
  // after limits::kWholeRounds all begins anew.
  struct Streak {
    uint8_t written = 0, dense = 0, age = 0;
  };
  std::vector<Streak> streaks_;
  uint32_t round_ = 0;  // one for each trigger
  uint64_t trigger_ = 0;
  Search::Whole whole_ = Search::Whole::kNever;  // of the search under way
  std::vector<size_t> again_;                    // pages to be looked at in this round
  std::deque<Region> recent_;
  Clock::time_point last_written_{};
  bool pinned_ = false;
  bool pins_read_ = false;  // for this trigger
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
