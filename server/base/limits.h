// Every limit, timeout and size that the server chooses, with its unit and reason. runtime/wire/limits.h bounds single messages
// and arrays for both ends.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "runtime/handle_table.h"
#include "runtime/wire/limits.h"

namespace vesper::server {

// What one session may use of the server. The defaults are generous: they end programs that have gone wild and hostile
// clients, not large ones.
struct SessionLimits {
  uint32_t objects = HandleTable::kMaxSlots;      // alive at the same time
  size_t message_bytes = wire::kMaxMessageBytes;  // one batch of commands
  size_t command_bytes = wire::kMaxArenaBytes;    // one decoded command
  size_t queued_bytes = size_t{2} << 30;          // decoded commands that wait for the pool or a queue
  size_t unread_bytes = size_t{512} << 20;        // what the client has not read yet
  size_t lanes = 0;                               // threads that record beside the reader
  std::chrono::milliseconds resume_for{0};        // a client whose connection broke is waited for
  std::chrono::milliseconds rest_after{3000};     // a silent session without a device gives the driver back
};

namespace limits {

inline constexpr std::chrono::milliseconds kForever{-1};
// A session gives the driver back so often, each time after 2 to the power of kRestGrowth times longer: a client that asks
// something every few seconds does not wait for the driver each time, and some drivers bear only so many loads in a process.
inline constexpr uint64_t kMaxRests = 4;
inline constexpr uint64_t kRestGrowth = 2;

// Devices of one session at the same time: each has threads of its own. More are VK_ERROR_TOO_MANY_OBJECTS.
inline constexpr size_t kMaxDevices = 64;

// Objects that the reader keeps copies of, by the last bits of their slots: a power of two.
inline constexpr size_t kCopiedObjects = 1024;
// Recorded commands that are prepared before a lane gets them: calls, and bytes of them with their arguments. Few, since the end
// of a command buffer waits for the lane. So many rows are with a lane at most.
inline constexpr size_t kRowCalls = 128;
inline constexpr size_t kRowBytes = 8 * 1024;
inline constexpr size_t kRowsOfLane = 128;
// A session has a lane for so many processors, and no more than so many. Pools whose lanes are remembered.
inline constexpr size_t kProcessorsOfLane = 4;
inline constexpr size_t kMaxLanes = 4;
inline constexpr size_t kPoolsOfLanes = 64;
// Commands of a command buffer that the reader makes itself: fewer are done before a lane has woken up.
inline constexpr uint32_t kBeforeLane = 128;
inline constexpr size_t kShortRow = 16;  // calls that are handed to a lane that has nothing to do
// How long a lane looks for more before it sleeps, and the reader for a lane to be done: a program that draws begins its next
// frame within that. Looks between two at the clock.
inline constexpr std::chrono::microseconds kLaneSpin{200};
inline constexpr int kLaneLooks = 64;
// Bytes of a command's arguments, without what they point at, which are decoded on the stack.
inline constexpr size_t kPlainArgumentBytes = 256;

// --- log and messages ----------------------------------------------------------------------------------------------------

// Bytes of a line: what a pipe takes whole or not at all; the rest is cut.
inline constexpr size_t kMaxLine = 4000;
// Bytes of a line's text where the line is a JSON object, whose other members need the rest.
inline constexpr size_t kMaxJsonText = kMaxLine - 200;
// Lines and bytes of one session, so that no client fills a disk with the log, and those left to say how it ended.
inline constexpr size_t kSessionLogLines = 2000;
inline constexpr size_t kSessionLogBytes = size_t{1} << 20;
inline constexpr size_t kLastLogLines = 8;
inline constexpr size_t kLastLogBytes = size_t{16} << 10;
// Lines of one session about commands that were skipped, and of the validation layer; more are counted.
inline constexpr uint64_t kMaxInertLines = 50;
inline constexpr uint64_t kMaxValidationLines = 500;
// Messages for the client's debug callbacks: bytes of one, a longer one is dropped, and of all that it has not taken yet.
inline constexpr size_t kMaxDebugMessageBytes = size_t{64} << 10;
inline constexpr size_t kMaxQueuedMessageBytes = size_t{1} << 20;

// --- memory --------------------------------------------------------------------------------------------------------------

// Bytes compared under one hold of the lock, which what changed of them leaves as one message, and those of one comparison. The
// client applies a piece while the next is compared, and copies of one lie in the processor's cache.
inline constexpr size_t kScanPiece = size_t{256} << 10;
inline constexpr size_t kScanBlock = 4096;
// Small changes that one scan sets aside, to be sent last; when there are more they are no flags.
inline constexpr size_t kMaxLate = 256;
// Looks of one scan, while each finds more of them: the GPU may never stop writing.
inline constexpr size_t kMaxLooks = 4;
// Bytes: a change of at most so many, and at least so far from others, may be a flag that the program polls.
inline constexpr size_t kAlone = 64;
// Parts of memory that a command buffer writes which are told apart; with more it counts as writing everything.
inline constexpr size_t kMaxWrittenParts = 4096;
// Command buffers that execute others, followed so deep.
inline constexpr int kMaxExecuteDepth = 4;
// Ids of a shader that is read for what it writes; a larger one counts as writing everything.
inline constexpr uint32_t kMaxShaderIds = 1u << 22;
// Bytes of one shader that --validate-shaders takes, how long that may take before its session is ended, and bytes of what is said
// about it.
inline constexpr size_t kMaxValidatedShader = size_t{32} << 20;
inline constexpr std::chrono::seconds kShaderPatience{30};
inline constexpr size_t kMaxShaderWords = 1000;
// Bytes of what a driver's pipeline cache keeps of one client and device from session to session, and of all of them.
inline constexpr size_t kMaxPipelineFile = size_t{64} << 20;
inline constexpr uint64_t kMaxPipelineFolder = uint64_t{1} << 30;
// How often a session may have them kept: for each device that it ends.
inline constexpr uint32_t kMaxKeptOfSession = 64;
// Bytes of the machine's memory that shared memory leaves to everyone else: a machine without any ends processes.
inline constexpr uint64_t kReservedMemory = uint64_t{256} << 20;
// Bytes of a heap that are kept for what a client allocates without asking, at most, and which part of the heap; after what share
// of them, or how many allocations, the client hears how far they were carried out.
inline constexpr uint64_t kMostReserve = uint64_t{64} << 20;
inline constexpr uint64_t kReserveShare = 16;
inline constexpr uint64_t kReserveTold = 4;
inline constexpr uint64_t kAllocationsTold = 64;
// Bytes: whether so little is free is not looked up, which takes longer than the allocation.
inline constexpr uint64_t kSmallSharing = uint64_t{4} << 20;
// Bytes that an import is aligned to at most (limits of VK_EXT_external_memory_host).
inline constexpr size_t kImportAlignment = size_t{64} << 10;
// Pages whose presence is asked for at once: a byte of stack each.
inline constexpr uint64_t kPagesAtOnce = 4096;
// Bytes from which malloc's blocks are pages of their own. What a driver on the CPU takes for each work group is smaller, and
// is kept; device memory is larger, and is fresh zeros.
inline constexpr int kMallocOwnPages = 1 << 20;

// --- devices and queues --------------------------------------------------------------------------------------------------

// How long the driver is asked to wait at once: a queue that is to stop notices within it.
inline constexpr std::chrono::milliseconds kDriverWait{100};
// While jobs run, mapped memory is looked at this often, and for at most one part in kExchangeShare + 1 of the time; a wait
// until then is no shorter than kLeastExchangeWait, since each is a call of the driver.
inline constexpr std::chrono::milliseconds kExchangeInterval{10};
inline constexpr int kExchangeShare = 9;
inline constexpr std::chrono::milliseconds kLeastExchangeWait{1};
// Without any progress for so long a device is destroyed although it has work: work that never ends must not keep the session.
inline constexpr std::chrono::milliseconds kDrainPatience{5000};
// How long the reset or destruction of a fence is held up by the thread that waits for it. Its wait ends at once when the fence
// is signalled, so a longer one is a program's fault.
inline constexpr std::chrono::milliseconds kFencePatience{2000};
// What the probe's dispatch of an empty shader may take: a driver on a busy machine may have to start a compiler.
inline constexpr std::chrono::seconds kProbeDispatch{10};

// --- the sandbox ---------------------------------------------------------------------------------------------------------

// Descriptors and threads of a worker: drivers need hundreds of each; these only end what goes wild.
inline constexpr uint64_t kMaxDescriptors = 8192;
inline constexpr uint64_t kMaxThreads = 1024;
// What the kernel adds to a worker's share of memory, in thousandths, when it looks for a process to end: the worker with the
// most memory goes first, the supervisor last.
inline constexpr int kOomScore = 500;

// --- peers that have no worker yet ---------------------------------------------------------------------------------------

// Peers that have not said who they are, of all origins and of one (a network or a local user): the oldest makes way for a new
// one. Each costs a descriptor.
inline constexpr size_t kMaxStrangers = 512;
inline constexpr size_t kMaxStrangersOfOneOrigin = 64;
// Until such a peer has said Hello, or shown its token, which takes a client on the other side of the world a second.
inline constexpr std::chrono::milliseconds kStrangerPatience{5000};
// Bytes of an IPv6 address that tell origins apart: one customer has a whole /64.
inline constexpr size_t kOriginBytesV6 = 8;
// Connections accepted from one listener, and events taken at once, before others have their turn.
inline constexpr int kMaxAccepted = 64;
inline constexpr size_t kEventsAtOnce = 64;
// Between lines about refused peers, and about a lack of descriptors: peers come and are refused as fast as they like.
inline constexpr std::chrono::milliseconds kRefusalLines{1000};
// Reads of what a refused peer has sent, of kMaxFirstHelloBytes each. More than that it only sends to keep us busy.
inline constexpr int kMaxFarewellReads = 4;
// After a connection for which no descriptor is left, so that the loop does not spin.
inline constexpr std::chrono::milliseconds kTurnAwayPause{20};
// Groups that the kernel names of a peer: at first, and at most, which is what Linux allows a process.
inline constexpr size_t kUsualGroups = 64;
inline constexpr size_t kMaxGroups = 65536;

// --- the door ------------------------------------------------------------------------------------------------------------

// TLS handshakes that have begun. Only these cost more than a descriptor: OpenSSL keeps buffers for each.
inline constexpr size_t kMaxHandshakes = 128;
// Between looks at who has been there for too long or may be heard again.
inline constexpr std::chrono::milliseconds kDoorTick{100};
// An origin may fail that often; then it is not listened to for a while, which doubles with each failure from the first pause
// to the longest: handshakes cost time. Failures are forgotten after a while without any.
inline constexpr size_t kFailuresForFree = 4;
inline constexpr std::chrono::milliseconds kFirstPause{50};
inline constexpr std::chrono::milliseconds kLongestPause{2000};
inline constexpr std::chrono::seconds kForgetFailures{60};
// Origins whose failures are kept in mind. When there are more, all are forgotten: an attacker with so many addresses is not
// slowed down by pauses.
inline constexpr size_t kMaxOrigins = 4096;
// Bytes of a key, a certificate, an authority or the file of tokens.
inline constexpr size_t kMaxFileBytes = size_t{1} << 20;
// Tokens, and letters of the name of one: looking one up takes time for each.
inline constexpr size_t kMaxTokens = 10000;
inline constexpr size_t kMaxTokenName = 40;
// Bytes of a client's or program's name between processes, with the zero at its end. "certificate: " and a name must fit.
inline constexpr size_t kAdmissionNameBytes = 48;
// A guest's port: how often it is looked at, after which silence something is sent to it, at first and at last, and how long that
// may lie there, alone or with more, until the process that had it open counts as gone.
inline constexpr std::chrono::milliseconds kPortLook{500};
inline constexpr std::chrono::milliseconds kFirstNudge{1000};
inline constexpr std::chrono::milliseconds kLastNudge{60'000};
inline constexpr int kFewUnread = 16 << 10;  // as the kernel counts, its own memory included
inline constexpr std::chrono::milliseconds kPortPatience{5000};
inline constexpr std::chrono::milliseconds kBusyPortPatience{60'000};
// Of a guest, unless its option says otherwise, and at most.
inline constexpr uint32_t kGuestMebibytes = 1024;
inline constexpr uint32_t kMostGuestMebibytes = 1 << 20;
// A virtio-serial device has 30 ports beside the console's, but QEMU tells a guest of each by three messages, of which 32 at most
// may wait: of the ports beyond these the guest may never hear that their other end is connected.
inline constexpr uint32_t kPortsOfDevice = 15;
inline constexpr uint32_t kGuestPorts = kPortsOfDevice;
inline constexpr uint32_t kMostGuestPorts = 8 * kPortsOfDevice;
inline constexpr size_t kGuestNameBytes = 32;
// Bytes of a sentence from the door, with the zero at its end: longer ones are cut.
inline constexpr size_t kDoorTextBytes = 256;
// How long the door's process may take to begin, and how long it stays away after it has ended: one that fails at once must not
// keep the supervisor busy.
inline constexpr std::chrono::seconds kDoorPatience{20};
inline constexpr std::chrono::milliseconds kDoorRestartAfter{500};
// Reports of the door that are taken before others have their turn.
inline constexpr int kMaxDoorReports = 64;

// --- sessions and workers ------------------------------------------------------------------------------------------------

// What is so without an option, and the most that options take: sessions with a device, sessions with or without one for each
// of these, workers started ahead, and how long a client waits for its turn.
inline constexpr uint32_t kDevices = 64;
inline constexpr uint32_t kClientsOfDevice = 4;
inline constexpr uint32_t kSpares = 2;
// How long after a session began a spare is started in its worker's place while others are there: opening a GPU is what the session does
// then, and some drivers let one process do so at a time.
inline constexpr std::chrono::milliseconds kRefillAfter{300};
inline constexpr std::chrono::seconds kWait{60};
// How long a session waits for a client whose connection broke, and at most.
inline constexpr std::chrono::seconds kResumeFor{30};
inline constexpr std::chrono::hours kMostResumeFor{24};
inline constexpr uint32_t kMostDevices = 4096;
inline constexpr uint32_t kMostClients = kClientsOfDevice * kMostDevices;
inline constexpr uint32_t kMostSpares = 256;
inline constexpr std::chrono::hours kMostWait{24};
// The fewest objects that a session may be limited to: with less, hardly a program would run.
inline constexpr uint32_t kLeastObjects = 1024;
// MiB that options about sizes take at most, and that about shared memory: sums of such bytes must fit 64 bits.
inline constexpr uint32_t kMostMebibytes = 1u << 20;
inline constexpr uint64_t kMostSharedMebibytes = uint64_t{1} << 40;

// Clients that wait for a worker.
inline constexpr size_t kMaxQueued = 1024;
// Between looks at those that wait.
inline constexpr std::chrono::milliseconds kTick{250};
// Who is served sooner need not be told that it waits; who waits longer hears again, so that its own patience does not end.
inline constexpr std::chrono::milliseconds kTellAfter{500};
inline constexpr std::chrono::milliseconds kTellAgain{1000};
// While places are free, clients wait for the machine and not for each other: a busy one may take so long to load a driver.
inline constexpr std::chrono::seconds kStartPatience{60};

// Workers started at a time, by the number of processors: more would only take these from each other.
inline constexpr size_t kLeastStarting = 2;
inline constexpr size_t kMostStarting = 16;
// Workers that fail in a row before clients are told, and the pause after each.
inline constexpr size_t kMaxStartFailures = 3;
inline constexpr std::chrono::milliseconds kStartAgainAfter{200};
// Reports of one worker that are taken before others have their turn, and bytes of the text of one.
inline constexpr int kMaxWorkerReports = 16;
inline constexpr size_t kMaxReportText = 512;
// How long workers may take to end when the server does, and between looks whether they have.
inline constexpr std::chrono::milliseconds kCrewPatience{3000};
inline constexpr std::chrono::milliseconds kCrewLook{20};
// How long a probe of the GPU may take: a driver on a busy machine loads slowly. And between looks at a process that starts.
inline constexpr std::chrono::seconds kProbePatience{60};
inline constexpr std::chrono::milliseconds kStartLook{100};
// Users of workers where each has its own: those that systemd gives to services, which also are within what containers have.
inline constexpr uint32_t kFirstDynamicUser = 61184;
inline constexpr uint32_t kDynamicUsers = 4336;

// How long a client that has a worker may take to greet it, and how long the driver may take to let go of what a client left.
inline constexpr std::chrono::seconds kGreetingPatience{10};
inline constexpr std::chrono::seconds kEndPatience{10};
// For so long a session whose connection broke keeps its place although others wait for one: a line that is torn and mended at once
// costs nobody a session.
inline constexpr std::chrono::milliseconds kMakesWayAfter{3000};
// Between looks at what a session uses, and how many of these there are to a report to the supervisor.
inline constexpr std::chrono::milliseconds kAccountLook{250};
inline constexpr int kAccountLooksOfReport = 4;
// How long the session of a client that has ended goes on reading what it sent before its end, usually a goodbye.
inline constexpr std::chrono::milliseconds kPeerLastWords{300};
// Reads, and bytes of each, of what the client of a crashing worker has sent, without which our last words would be lost.
inline constexpr int kMaxLastReads = 64;
inline constexpr size_t kLastReadBytes = 4096;

// Bytes of a message that the thread which has it sends by itself while nothing is queued: more would keep it from its work.
inline constexpr size_t kDirectBytes = 16 * 1024;
// Bytes of messages that have not left when who looks for more waits, and how long at most while none leaves. Buffers of such
// messages that are kept for others.
inline constexpr size_t kMaxAhead = size_t{1} << 20;
// Before a line that is the limit as much waits as it carries in two milliseconds, in pieces of what it carries in one, and no less
// than this.
inline constexpr size_t kLeastAhead = size_t{16} << 10;
inline constexpr uint64_t kAheadOfSecond = 500;
inline constexpr uint64_t kPieceOfSecond = 1000;
inline constexpr size_t kRingPiece = size_t{64} << 10;  // a ring takes no messages of more than a quarter of it
inline constexpr std::chrono::milliseconds kRoomPatience{1000};
inline constexpr size_t kSpareBuffers = 20;
// How often a client hears that its session lives while nothing else is to be said; well within its least grace.
inline constexpr std::chrono::milliseconds kAliveInterval{250};
// How long a session that ends lets its last messages leave.
inline constexpr std::chrono::milliseconds kLastFlush{500};
// A call of the driver for a submit that takes longer would hold up the session's other commands: for a while the queue's
// executor makes them.
inline constexpr std::chrono::milliseconds kQuickSubmit{1};
inline constexpr std::chrono::seconds kSlowSubmitsFor{1};
// How long the thread that handed a submit over attends its end: as long as waking the watcher takes, so that it costs at most
// twice of what is best. After so many in vain only every so-many-th submit is attended, until one ends in time.
inline constexpr std::chrono::microseconds kAttend{20};
inline constexpr unsigned kMaxAttendedInVain = 8;
// How long the watcher looks for the end of a submit itself before it sleeps in the driver, where there are that many
// processors: a language model's submits end every 100 to 200 microseconds.
inline constexpr std::chrono::microseconds kWatchClosely{250};
inline constexpr unsigned kProcessorsToWatch = 4;
inline constexpr int kWatchPauses =
    64;  // between two looks, some three microseconds: the program shares the processor, maybe
// Bytes that a parked unit costs beside its records and itself, and for each object that it notes.
inline constexpr size_t kParkedUnitBytes = 64;
inline constexpr size_t kParkedNoteBytes = 64;

// Threads that answer at the address of --metrics.
inline constexpr size_t kMetricsThreads = 2;

// --- the front end for Mesa's Venus driver ---------------------------------------------------------------------------------

// What one client may have: resources, bytes of those that are mapped here, rings, bytes of a ring's buffer, of a message on the
// socket, and streams within streams.
inline constexpr size_t kVenusResources = 65536;
inline constexpr uint64_t kVenusResourceBytes = uint64_t{256} << 20;
inline constexpr size_t kVenusRings = 256;
inline constexpr uint64_t kVenusRingBytes = uint64_t{16} << 20;
inline constexpr size_t kVenusMessageBytes = size_t{16} << 20;
inline constexpr size_t kVenusStreamDepth = 64;
inline constexpr uint64_t kVenusStreamBytes = uint64_t{64} << 20;
inline constexpr size_t kVenusSyncs = 65536;
inline constexpr size_t kVenusSyncWaits = 256;
// Records that go to the session at once, so that the peer learns soon how far they are.
inline constexpr size_t kVenusBatchBytes = size_t{32} << 10;
// How long rings are looked at in turn without a pause, and then with pauses, before they are called idle; what a pause is, and
// how much later than asked for the kernel may end it; how long somebody asleep waits at most while a ring waits for the device.
// The driver's waits look for 256 yields of its thread and then sleep for 160 us and more at a time: whoever has gone to sleep
// in one of these finds the next command too late, and is slept for again. So the first is longer than such a sleep.
inline constexpr std::chrono::microseconds kVenusSpin{500};
inline constexpr std::chrono::microseconds kVenusSlack{1};
inline constexpr std::chrono::microseconds kVenusLook{2000};
inline constexpr std::chrono::microseconds kVenusPause{20};
inline constexpr std::chrono::microseconds kVenusRetry{100};
inline constexpr std::chrono::milliseconds kVenusDoze{200};
// So many looks at the rings for one at the socket; bytes of a name that are kept.
inline constexpr uint32_t kVenusSocketTurns = 16;
inline constexpr size_t kVenusNameBytes = 200;
// How often rings are said to be alive; the driver gives up after about 3 s.
inline constexpr std::chrono::milliseconds kVenusAlive{500};
// A peer that does not take an answer for so long has gone.
inline constexpr std::chrono::seconds kVenusAnswer{10};
// In a guest: how long its agent may take to make a file, which it fills with zeros; what the driver may have said that nobody has
// read.
inline constexpr std::chrono::seconds kVenusFile{60};
inline constexpr size_t kVenusUnread = 2 * kVenusMessageBytes;

// --- how far clients run ahead -------------------------------------------------------------------------------------------

// What a command costs is the mean over about so many of its kind. Costs that are told at once, and the highest, in nanoseconds.
inline constexpr double kCostMemory = 8;
inline constexpr size_t kMaxCostsAtOnce = 64;
inline constexpr double kMaxCostNs = 4e9;

}  // namespace limits
}  // namespace vesper::server
