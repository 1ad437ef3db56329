// Submits of small uploads, whose fence is answered at once (client/objects/uploads.h).
#pragma once

#include <vulkan/vulkan.h>

#include <span>

#include "client/objects/object.h"

namespace vesper::client {

// The queue got work that is no upload: it is the one to carry uploads out, if it can.
void NoteWork(Queue* queue) noexcept VESPER_REQUIRES(queue->submits_mutex);
// The queue that carries out uploads submitted to `queue`.
Queue* UploadQueueFor(Queue* queue) noexcept;
// Takes over what these command buffers copy, as it is now, and answers the fence, if there is one. False, with nothing done, when
// that cannot be: they copy much, or work is under way that may be told apart from them.
bool TakeUpload(Queue* carrier, std::span<const VkCommandBuffer> buffers, VkFence fence) noexcept
    VESPER_REQUIRES(carrier->submits_mutex);
// What was taken over is submitted, ahead of what comes next. False when the session is lost.
bool SubmitUploads(Queue* carrier) noexcept VESPER_REQUIRES(carrier->submits_mutex);
// Work for this queue comes next: waits until uploads of another one have ended. With no such lock held.
void AwaitUploadsElsewhere(Queue* queue) noexcept;
// The device is being destroyed.
void EndUploads(Device* device) noexcept;

}  // namespace vesper::client
