// Records that are no Vulkan commands: what the client tells the server about memory and liveness, and the events that the
// server pushes. Bodies are fixed structs, little-endian, followed by what their comment says.
#pragma once

#include <cstdint>

#include "runtime/object_id.h"

namespace vesper::wire {

// Client → server, in batches among command records (RecordHeader::command). Executed in order with the commands.
enum class Control : uint16_t {
  kHeartbeat = 0xff00,       // no body; with kWantsReply the answer proves that the server lives
  kMemoryMapped = 0xff01,    // MemoryMapping: the client has this range mapped
  kMemoryUnmapped = 0xff02,  // MemoryRange (whole mapping): no more changes are wanted
  kMemoryWrite = 0xff03,  // MemoryRuns, then runs: bytes that the application wrote; no reply, never waits for a submit
  kMemoryFetch = 0xff04,  // MemoryRange, kWantsReply: answered when all changes in it, as events, have been sent
  kMemoryWritable = 0xff05,  // MemoryRange: the device may write it from now on; what is mapped of it is to be watched
  kMark = 0xff06,            // no body: the server says Progress when it has come to it
  // PictureMemory, kWantsReply: pictures of windows, which may come as kPicture from now on; refused where nobody can.
  kPictures = 0xff08,
  kMemoryCredit =
      0xff09,  // MemoryCreditRequest: what of a heap may be allocated without asking; the event of that name follows
  kFrame = 0xff07  // PresentedFrame, after the submit that copies it: for whoever records; the server passes it over
};

// Server → client, in event messages.
enum class EventKind : uint16_t {
  kCompleted = 1,      // Completed; after all memory events that it covers
  kDeviceLost = 2,     // DeviceLost, then a sentence (the rest of the body) for the log
  kMemoryChanged = 4,  // MemoryRuns, then runs: bytes that the GPU wrote, to be applied to memory and twin together
  kDebugMessage = 6,   // DebugMessage: a debug messenger's or report's callback data, encoded by generated code
  kMade = 8,           // Made
  kPicture = 10,       // PictureTile, then a JPEG of that size: how a part of a picture looks now, nearly
  kMemoryCredit = 11,  // MemoryCredit; ahead of the replies to what was asked behind what it tells of
  kProgress = 9,       // Progress, then any number of CommandCost that have changed
  kAlive = 7           // no body: the server has been busy with one message for a while and lives
};

struct MemoryRange {
  ObjectId memory = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
};

// Whole memory that nobody has written yet holds zeros for the client: `fresh` lets the server make it so. Non-zero: it may.
struct MemoryMapping {
  MemoryRange range;
  uint64_t fresh = 0;
};

// Followed by `count` runs: MemoryRun; unless all of its extent changed, a mask of a bit for each byte; the changed bytes; padded
// to 8. Or, with kHoles in `changed`: all bytes of the extent, and for each of the others, which mean nothing, where in the
// extent it is (16 bits, ascending); `changed` is then their number. See memory_runs.h.
inline constexpr uint32_t kHoles = uint32_t{1} << 31;
struct MemoryRuns {
  ObjectId memory = 0;
  uint32_t count = 0;
  uint32_t reserved = 0;
};
struct MemoryRun {
  uint64_t offset = 0;  // within the memory object
  uint32_t extent = 0;
  uint32_t changed = 0;
};

// All submits to `queue` up to the one with number `serial` have completed, and with them everything they signal. Both
// sides count submits (vkQueueSubmit, vkQueueSubmit2, vkQueueBindSparse …) per queue from 1, in order.
struct Completed {
  ObjectId queue = 0;
  uint64_t serial = 0;
};
// All that was sent before that many marks (Control::kMark) of this session has been executed, or waits for something else. Where
// there is shared memory it is a number of the key kProgressKey (Channel::Raise), unless costs have changed.
struct Progress {
  uint64_t marks = 0;
};
inline constexpr uint64_t kProgressKey = ~uint64_t{0};
// What one command costs the server now, on the thread that takes the session's commands; of recordings (vkCmd*, all alike) and
// of kMemoryWrite what each KiB does.
struct CommandCost {
  uint32_t command = 0;  // the client's number, kMemoryWrite, or kRecordings
  uint32_t ns = 0;
};
inline constexpr uint16_t kRecordings = 0xfffe;

// A picture that was presented lies in mapped memory, four bytes a pixel, when that submit to `queue` has completed. Without a
// window there is no picture, and `memory` is null.
struct PresentedFrame {
  ObjectId queue = 0;
  uint64_t serial = 0;
  ObjectId memory = 0;
  uint64_t offset = 0;
  uint32_t width = 0;
  uint32_t height = 0;
};

// Memory that holds pictures, each of `height` rows of `width` pixels of four bytes without gaps, `stride` bytes after the one
// before. The fourth byte of a pixel means nothing.
struct PictureMemory {
  ObjectId memory = 0;
  uint64_t stride = 0;
  uint32_t count = 0;
  uint32_t width = 0;
  uint32_t height = 0;
  uint32_t red_first = 0;  // else blue is
};
// A part of the picture at that index. No larger than this: it is unpacked at once.
inline constexpr uint32_t kMaxTileWidth = 1024;
inline constexpr uint32_t kMaxTileHeight = 64;
struct PictureTile {
  ObjectId memory = 0;
  uint32_t index = 0;
  uint32_t x = 0;
  uint32_t y = 0;
  uint32_t width = 0;
  uint32_t height = 0;
  uint32_t bytes = 0;  // of the JPEG
};

// The client asks for that many bytes of the heap of that type to be kept for it; none gives back what is kept. The answer may be
// less. Requests of a heap are numbered by the client.
struct MemoryCreditRequest {
  ObjectId device = 0;
  uint32_t type = 0;
  uint32_t request = 0;
  uint64_t bytes = 0;
};
// What is kept of a heap since that request. vkAllocateMemory of it without a reply is certain while all that were sent and not
// told of here take no more. Said after each request, when what is kept becomes less, and often enough for the rest.
struct MemoryCredit {
  ObjectId device = 0;
  uint32_t heap = 0;
  uint32_t request = 0;
  uint64_t bytes = 0;
  uint64_t taken = 0;  // allocations of the heap without a reply that were carried out, since the device was made
};

struct DeviceLost {
  ObjectId device = 0;  // null: every device of the session
};
// What became of an object whose creation ran on the pool while nobody waited for it.
struct Made {
  ObjectId object = 0;
  int32_t result = 0;  // VK_SUCCESS, or why there is none
  uint32_t reserved = 0;
};
// Followed by the request bytes of the command that lets an application give such a message itself: what the callback
// is given.
enum class DebugForm : uint32_t { kUtils, kReport };
struct DebugMessage {
  ObjectId messenger =
      0;  // VkDebugUtilsMessengerEXT or VkDebugReportCallbackEXT; null: those of the instance's create-info
  uint64_t sequence = 0;  // of the command that waits for a reply and caused it, else 0; sent before that reply
  DebugForm form = DebugForm::kUtils;
  uint32_t reserved = 0;
};

}  // namespace vesper::wire
