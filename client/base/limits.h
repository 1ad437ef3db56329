// Every limit, timeout and size that the client chooses, with its unit and reason. runtime/wire/limits.h has those that both
// ends keep to. Whoever changes one measures (docs/performance.md, docs/memory.md).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace vesper::client::limits {

// --- finding a server ----------------------------------------------------------------------------------------------------

// Over all addresses. A server under load takes its time to start a worker.
inline constexpr std::chrono::milliseconds kConnectPatience{5000};
// Once trying has taken longer than the first it is not repeated within the second: programs ask often.
inline constexpr std::chrono::milliseconds kSlowFailure{200};
inline constexpr std::chrono::seconds kRetryAfter{5};
// Sessions that the child of a fork can find without a lock. Slots are never reused.
inline constexpr size_t kMaxSessions = 4096;

// Slots for objects, where a server does not say how many it takes.
inline constexpr uint32_t kDefaultSlots = (1u << 22) - 1;

// --- what a server may say -----------------------------------------------------------------------------------------------

// Beyond these a server's answer is cut, so that a hostile one cannot exhaust the program's memory.
inline constexpr uint32_t kMaxPhysicalDevices = 32;
inline constexpr uint32_t kMaxExtensions = 1024;
inline constexpr uint32_t kMaxInstanceExtensions = 512;
inline constexpr size_t kMaxQueueFamilies = 64;
// Messages for debug callbacks: number and bytes kept for a program that makes no calls, and what one may take decoded.
inline constexpr size_t kMaxPendingMessages = 4096;
inline constexpr size_t kMaxPendingMessageBytes = size_t{4} << 20;
inline constexpr size_t kMaxDecodedMessageBytes = size_t{1} << 20;

// --- remembering ---------------------------------------------------------------------------------------------------------

// Answers of one session, by their questions' bytes; beyond, each call asks.
inline constexpr size_t kMaxAnswers = size_t{1} << 16;
// Answers that were asked for ahead and that nobody has wanted yet.
inline constexpr size_t kMaxAnswersAhead = 4096;
// Objects whose addresses are asked for with the one that is wanted: their questions take less than may lie unsent.
inline constexpr size_t kAddressesAtOnce = 8192;
// Ranges of a query pool about which the last answer is kept, and 64-bit values of one that is asked for ahead: more are read
// when they are wanted.
inline constexpr size_t kQueryAnswers = 64;
inline constexpr size_t kQueryValuesAhead = 4096;
// Bytes of a heap that are kept for what is allocated without asking: at first, and at most, when that was not enough.
inline constexpr uint64_t kLeastCredit = uint64_t{16} << 20;
inline constexpr uint64_t kMostCredit = uint64_t{64} << 20;
// Bytes and regions of an upload whose fence is answered at once: what vkCmdUpdateBuffer takes. More takes longer than the wait.
inline constexpr uint64_t kUploadBytes = uint64_t{64} << 10;
inline constexpr size_t kUploadCopies = 16;
// Create-infos that objects are known by; objects beyond answer for themselves.
inline constexpr uint32_t kMaxRecipes = 1u << 16;
// Pipelines that were refused; an equal one is waited for.
inline constexpr size_t kMaxFailedRequests = 4096;
// Signals of a timeline semaphore that are noted before those which were reached are taken out.
inline constexpr size_t kPendingSignals = 64;

// --- sending -------------------------------------------------------------------------------------------------------------

// Bytes at which a batch leaves by itself: large enough that a message's own cost does not count, small enough that the
// server has something to do early.
inline constexpr size_t kBatchBytes = size_t{32} << 10;
// Bytes that wait for the line before callers wait for room. More only delays what comes later, questions of other threads, too;
// with less, lines starve while the writer is woken.
inline constexpr size_t kMaxUnsentBytes = size_t{512} << 10;
// How far the client runs ahead of its server, in nanoseconds of the server's work; a round trip comes on top. Whoever waits for
// something waits this much longer than it takes. Marks go among the records this often.
inline constexpr uint64_t kLeadNs = 20'000'000;
inline constexpr uint64_t kMarkEveryNs = 2'000'000;
// What a command costs before the server has said it (drivers take 0.4 ms for a fence), and a KiB of recordings and of memory.
inline constexpr uint32_t kUnknownCostNs = 100'000;
inline constexpr uint32_t kUnknownRecordingNs = 4'000;
inline constexpr uint32_t kUnknownWriteNs = 1'000;
// Buffers of sent batches that are kept for new ones.
inline constexpr size_t kSpareBatches = 16;
// Batches that a thread sends when it flushes, before the writer goes on with those of other threads.
inline constexpr int kBatchesAtOnce = 4;
// Bytes of a recording that leave before it ends, so that the server records while the program does.
inline constexpr size_t kRecordingBytes = size_t{8} << 10;
// The first of them, where that costs no system call: what begins a recording is what a device that has nothing to do waits for.
inline constexpr size_t kFirstRecordingBytes = size_t{2} << 10;
// Bytes of runs of mapped memory in one record: each wakes somebody, and all of it fits into a processor's cache and into a
// quarter of the ring.
inline constexpr size_t kMemoryRecordBytes = size_t{192} << 10;

// How long a record may lie in the batch before it leaves: programs that post now and then wait for nothing else.
inline constexpr std::chrono::milliseconds kLinger{5};
// How long after a post the background thread goes on looking at the batch; then the next post wakes it.
inline constexpr std::chrono::milliseconds kBusyFor{100};

// --- waiting and polling -------------------------------------------------------------------------------------------------

// Between exchanges of mapped memory while work is outstanding, which get a tenth of the time at most.
inline constexpr std::chrono::milliseconds kPulse{10};
// Silence after which a server is asked whether it lives, and after which it counts as lost (VESPER_GRACE, in the bounds that
// follow, in seconds).
inline constexpr std::chrono::milliseconds kHeartbeatAfter{2000};
inline constexpr std::chrono::milliseconds kGrace{10000};
// How long a server has at least to be heard over a connection that was made since it had fallen silent over another.
inline constexpr std::chrono::milliseconds kAfterRenewal{1000};
inline constexpr double kLeastGrace = 0.1;
inline constexpr double kMostGrace = 86400;
// Threads that wait at the same time without an allocation.
inline constexpr size_t kUsualWaiters = 64;
// A reader looks up from the channel this often, to notice silence.
inline constexpr std::chrono::milliseconds kReaderLooksUp{500};
// Between looks at the channel by a thread that polls for a reply which is due soon.
inline constexpr std::chrono::microseconds kPollInterval{20};
// Programs that poll a fence or event are let through to the channel this often.
inline constexpr std::chrono::microseconds kPolledInterval{200};
// While work is outstanding a query may become available before anything completes: polls ask at least this often.
inline constexpr std::chrono::milliseconds kStaleQuery{10};
// Who waits for a query asks again when something completes, and at the latest after the first of these while work is
// outstanding, else after the second: the host or another process may make it available too.
inline constexpr std::chrono::milliseconds kQueryPatience{50};
inline constexpr std::chrono::milliseconds kIdleQueryPatience{5};
// How long after a pipeline's creation what uses it is held up to learn of a failure, which comes sooner than a success.
inline constexpr std::chrono::milliseconds kVerdictPatience{20};
// Between questions for reports of faults, which a driver would wait for and the server must not.
inline constexpr std::chrono::milliseconds kFaultReportInterval{5};

// --- mapped memory -------------------------------------------------------------------------------------------------------

// Bytes compared at once, and by which access to memory of another allocator is granted: a page of the smallest kind.
inline constexpr size_t kBlockBytes = 4096;
// Mappings that one block of the list for the child of a fork holds.
inline constexpr size_t kMappingsOfBlock = 1024;
// Ranges of written pages that the kernel is asked for at once: 6 KiB of stack.
inline constexpr size_t kRegionsAtOnce = 256;
// How long the kernel's count of pinned pages is taken for true: reading it costs a system call.
inline constexpr std::chrono::microseconds kPinsInterval{100};
// Bytes searched for changes under one hold of the mutex, and while an eighth of them or more change: a fraction of a millisecond
// either way. Room is awaited between, so that hardly more waits for the line than that.
inline constexpr uint64_t kSliceBytes = uint64_t{4} << 20;
inline constexpr uint64_t kDenseSliceBytes = uint64_t{192} << 10;
// No more of what changed is put before a line than it carries in two milliseconds, in pieces of what it carries in one, and no less
// than the first of these; bytes searched at once where it is slow. Bytes a second from which a line is not slow, and from which
// comparing costs more than to send what did not change.
inline constexpr uint64_t kLeastSliceBytes = uint64_t{16} << 10;
inline constexpr uint64_t kBulkOfSecond = 500;
inline constexpr uint64_t kSliceOfSecond = 1000;
inline constexpr uint64_t kSlowSliceBytes = uint64_t{128} << 10;
inline constexpr uint64_t kSlowLine = 32'000'000;
inline constexpr uint64_t kFastLine = 160'000'000;
// Pages that are judged together, and how often in a row a group of them must have been rewritten wholly before its writes are no
// longer recorded but found.
inline constexpr size_t kGroupBytes = size_t{64} << 10;
inline constexpr uint8_t kRewritings = 2;
// How many looks in a row may then find nothing before they are recorded again (one costs about a sixth of the faults; exchanges
// while work is outstanding are looks, too), and the most rewritings that are asked for when that has happened.
inline constexpr uint8_t kLooksInVain = 8;
inline constexpr uint8_t kMostRewritings = 64;
// How often in a row such a group is sent without comparing before it is compared once more, and how many bytes of each page must
// have changed.
inline constexpr uint8_t kWholeRounds = 16;
inline constexpr size_t kDensePage = kBlockBytes - kBlockBytes / 16;
// Bytes of the server's that are put into recorded memory by two system calls rather than with a fault for each page.
inline constexpr size_t kPlacedAtOnce = size_t{32} << 10;
// Runs of one record that are placed together.
inline constexpr size_t kRunsAtOnce = 16;
// Bytes read at once of memory that another allocator owns.
inline constexpr size_t kForeignPieceBytes = size_t{256} << 10;
// Writes through pages that were pinned earlier (O_DIRECT and io_uring while they are under way) are not recorded. Pages are
// pinned by way of a recorded write: those written in the last kRecentlyWritten are compared again, at most kRecentPages of
// them, and kSamplePages of all others that were ever written, in turn. With memory pinned for long, all of the latter.
// A pin shows in the kernel's counts after kPinsAppearWithin at the latest.
inline constexpr std::chrono::seconds kRecentlyWritten{1};
inline constexpr std::chrono::milliseconds kPinsAppearWithin{100};
inline constexpr size_t kRecentPages = 128;
inline constexpr size_t kSamplePages = 16;
// Regions written lately that are kept in mind, and pages of one to which others are joined.
inline constexpr size_t kMaxJoinedPages = 1024;
inline constexpr size_t kMaxRegions = 1024;

// --- windows -------------------------------------------------------------------------------------------------------------

// Images of a swapchain: one being shown, one being drawn; in MAILBOX mode one more that waits to be shown.
inline constexpr uint32_t kMinImages = 2;
inline constexpr uint32_t kMinMailboxImages = 3;
// Between frames in FIFO mode: there is no telling when a screen is refreshed that may be another machine's.
inline constexpr std::chrono::nanoseconds kFrameInterval{1'000'000'000 / 60};
// Where the compositor says when it wants the next picture, which it does not for windows that nobody sees: their programs go on
// at this pace.
inline constexpr std::chrono::nanoseconds kHiddenInterval{1'000'000'000};
// Pictures of a swapchain that a compositor may hold at the same time: one on the screen, one to come, one that a slow one has not
// released, one to write to. And how long a swapchain that ends waits for one of them.
inline constexpr size_t kWaylandBuffers = 4;
inline constexpr std::chrono::milliseconds kReleasePatience{100};
// Bytes of one request to an X server: what every one takes, and beyond which stripes gain nothing.
inline constexpr uint32_t kMinRequestBytes = 16 * 1024;
inline constexpr uint32_t kMaxRequestBytes = 1024 * 1024;

// --- texts ---------------------------------------------------------------------------------------------------------------

// Bytes of a line on stderr, of a line of statistics, and of a sentence about a malformed reply: longer ones are cut.
inline constexpr size_t kMaxLine = 1024;
inline constexpr size_t kMaxStatisticsLine = 384;
inline constexpr size_t kMaxReason = 200;

}  // namespace vesper::client::limits
