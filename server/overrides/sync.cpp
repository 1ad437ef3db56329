// Submits go to their queue's executor, counted, with a signal of the server's own after them;
// waits never block the session's reader, since the client waits by what is pushed to it.
#include <algorithm>
#include <iterator>

#include "generated/server/overrides.h"
#include "server/base/chain.h"
#include "server/memory/write_ledger.h"
#include "server/session/session.h"

namespace vesper::server::overrides {
namespace {

Queue& QueueOf(Session& session, VkQueue queue) {
  const ObjectId id = session.handles().ToWire(HandleType::kQueue, reinterpret_cast<uintptr_t>(queue));
  return session.device().QueueOf(queue, id);
}

// A submit on its way to the executor: collects what must be handed over before it.
class Submission {
 public:
  Submission(Session& session, VkQueue queue, const char* name, VkFence fence)
      : session_(session),
        device_(session.device()),
        memories_(session.memories()),
        queue_(QueueOf(session, queue)),
        run_(session.KeepRun()) {
    job_.name = name;
    // A client that sees completion in memory waits for its fences itself, before it uses them again.
    if (!session.must_share() || queue_.timeline() == VK_NULL_HANDLE) job_.fence = fence;
    job_.keeps = run_;
    job_.ticket = std::make_shared<Ticket>();
    job_.serial = queue_.NextSerial();
    job_.works = false;
    if (queue_.timeline() == VK_NULL_HANDLE) job_.internal = queue_.TakeFence();
  }

  void Waits(VkSemaphore semaphore) {
    if (device_.IsTimeline(semaphore)) job_.may_block = true;  // the host may be about to signal it
    if (auto ticket = device_.TakeTicket(semaphore)) job_.waits.push_back(std::move(ticket));
  }
  void Signals(VkSemaphore semaphore) { signals_.push_back(semaphore); }
  // It executes these, which is more than waiting and signalling.
  void Works(VkCommandBuffer buffer) {
    job_.works = true;
    buffers_.push_back(buffer);
  }

  // Zeroed, living as long as the job.
  template <typename T>
  T* New(size_t count = 1) {
    auto* made = static_cast<T*>(run_->arena.Allocate(count * sizeof(T)));
    if (made == nullptr) throw std::bad_alloc();
    return made;
  }

  VkSemaphore* timeline() {
    auto* semaphore = New<VkSemaphore>();
    *semaphore = queue_.timeline();
    return semaphore;
  }
  uint64_t* serial() {
    auto* value = New<uint64_t>();
    *value = job_.serial;
    return value;
  }
  bool counts_by_timeline() const { return job_.internal == VK_NULL_HANDLE; }
  VkFence internal() const { return job_.internal; }

  // A submit that does nothing but signal the queue's timeline.
  VkSubmitInfo Signal() {
    auto* values = New<VkTimelineSemaphoreSubmitInfo>();
    values->sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO;
    values->signalSemaphoreValueCount = 1;
    values->pSignalSemaphoreValues = serial();
    VkSubmitInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    info.pNext = values;
    info.signalSemaphoreCount = 1;
    info.pSignalSemaphores = timeline();
    return info;
  }

  void Enqueue(std::function<VkResult()> call) {
    for (const VkSemaphore semaphore : signals_) device_.LeaveTicket(semaphore, job_.ticket);
    std::vector<ObjectId> commands;
    const std::vector<ObjectId>& named = run_->handles.named();
    std::copy_if(named.begin(), named.end(), std::back_inserter(commands),
                 [&](ObjectId id) { return session_.objects().TypeOfPeer(id) == HandleType::kCommandBuffer; });
    session_.query_uses().Submit(commands, &queue_, job_.serial);
    job_.call = std::move(call);
    if (job_.works) job_.writes = Writes();
    queue_.Enqueue(std::move(job_));
  }

 private:
  // Where no memory is looked at now, what may be written is not worth finding out.
  std::shared_ptr<const void> Writes() const {
    WriteLedger& writes = memories_.writes();
    if (!writes.kept()) return nullptr;
    return memories_.Watches(device_.handle()) ? writes.Submitted(device_.handle(), buffers_)
                                               : writes.Unknown(device_.handle());
  }

  Session& session_;
  Device& device_;
  MemoryTable& memories_;
  Queue& queue_;
  const std::shared_ptr<CommandRun> run_;
  QueueJob job_;
  std::vector<VkSemaphore> signals_;
  std::vector<VkCommandBuffer> buffers_;
};

VkResult SignalInternal(const vk::DispatchTable& driver, VkQueue queue, VkFence internal) {
  return driver.QueueSubmit(queue, 0, nullptr, internal);
}

}  // namespace

void QueueSubmit(Session& session, const vk::DispatchTable& driver, wire::QueueSubmitArgs& v) {
  Submission submission(session, v.queue, "vkQueueSubmit", v.fence);
  auto* submits = submission.New<VkSubmitInfo>(size_t{v.submitCount} + 1);
  std::copy_n(v.pSubmits, v.submitCount, submits);
  for (uint32_t i = 0; i < v.submitCount; ++i) {
    for (uint32_t b = 0; b < submits[i].commandBufferCount; ++b) submission.Works(submits[i].pCommandBuffers[b]);
    for (uint32_t w = 0; w < submits[i].waitSemaphoreCount; ++w) submission.Waits(submits[i].pWaitSemaphores[w]);
    for (uint32_t s = 0; s < submits[i].signalSemaphoreCount; ++s) submission.Signals(submits[i].pSignalSemaphores[s]);
  }
  uint32_t count = v.submitCount;
  if (submission.counts_by_timeline()) submits[count++] = submission.Signal();
  submission.Enqueue([&driver, submits, count, queue = v.queue, fence = v.fence, internal = submission.internal()] {
    const VkResult result = driver.QueueSubmit(queue, count, submits, fence);
    return result < 0 || internal == VK_NULL_HANDLE ? result : SignalInternal(driver, queue, internal);
  });
  v.result = VK_SUCCESS;
}

void QueueSubmit2(Session& session, const vk::DispatchTable& driver, wire::QueueSubmit2Args& v) {
  Submission submission(session, v.queue, "vkQueueSubmit2", v.fence);
  auto* submits = submission.New<VkSubmitInfo2>(size_t{v.submitCount} + 1);
  std::copy_n(v.pSubmits, v.submitCount, submits);
  for (uint32_t i = 0; i < v.submitCount; ++i) {
    const VkSubmitInfo2& submit = submits[i];
    for (uint32_t b = 0; b < submit.commandBufferInfoCount; ++b) {
      submission.Works(submit.pCommandBufferInfos[b].commandBuffer);
    }
    for (uint32_t w = 0; w < submit.waitSemaphoreInfoCount; ++w) {
      submission.Waits(submit.pWaitSemaphoreInfos[w].semaphore);
    }
    for (uint32_t s = 0; s < submit.signalSemaphoreInfoCount; ++s) {
      submission.Signals(submit.pSignalSemaphoreInfos[s].semaphore);
    }
  }
  uint32_t count = v.submitCount;
  if (submission.counts_by_timeline()) {
    auto* signal = submission.New<VkSemaphoreSubmitInfo>();
    signal->sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO;
    signal->semaphore = *submission.timeline();
    signal->value = *submission.serial();
    signal->stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT;
    VkSubmitInfo2& last = submits[count++];
    last.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2;
    last.signalSemaphoreInfoCount = 1;
    last.pSignalSemaphoreInfos = signal;
  }
  submission.Enqueue([&driver, submits, count, queue = v.queue, fence = v.fence, internal = submission.internal()] {
    const VkResult result = driver.QueueSubmit2(queue, count, submits, fence);
    return result < 0 || internal == VK_NULL_HANDLE ? result : SignalInternal(driver, queue, internal);
  });
  v.result = VK_SUCCESS;
}

// The empty submit after it signals after all that the binds signal.
void QueueBindSparse(Session& session, const vk::DispatchTable& driver, wire::QueueBindSparseArgs& v) {
  Submission submission(session, v.queue, "vkQueueBindSparse", v.fence);
  for (uint32_t i = 0; i < v.bindInfoCount; ++i) {
    const VkBindSparseInfo& bind = v.pBindInfo[i];
    for (uint32_t w = 0; w < bind.waitSemaphoreCount; ++w) submission.Waits(bind.pWaitSemaphores[w]);
    for (uint32_t s = 0; s < bind.signalSemaphoreCount; ++s) submission.Signals(bind.pSignalSemaphores[s]);
  }
  VkSubmitInfo* signal = nullptr;
  if (submission.counts_by_timeline()) {
    signal = submission.New<VkSubmitInfo>();
    *signal = submission.Signal();
  }
  submission.Enqueue([&driver, &v, signal, internal = submission.internal()] {
    const VkResult result = driver.QueueBindSparse(v.queue, v.bindInfoCount, v.pBindInfo, v.fence);
    if (result < 0) return result;
    return driver.QueueSubmit(v.queue, signal == nullptr ? 0 : 1, signal, internal);
  });
  v.result = VK_SUCCESS;
}

void QueueWaitIdle(Session& session, const vk::DispatchTable&, wire::QueueWaitIdleArgs& v) {
  v.result = VK_SUCCESS;
  if (!session.run().wants_reply) return;
  Queue& queue = QueueOf(session, v.queue);
  queue.WhenCompleted(queue.last_serial(), [&session, &v, run = session.DeferReply(), device = &session.device()] {
    if (device->lost()) v.result = VK_ERROR_DEVICE_LOST;
    session.SendReply(*run);
  });
}

void DeviceWaitIdle(Session& session, const vk::DispatchTable&, wire::DeviceWaitIdleArgs& v) {
  v.result = VK_SUCCESS;
  if (!session.run().wants_reply) return;
  session.DrainJobs();  // submits may wait for them
  session.device().WhenIdle([&session, &v, run = session.DeferReply(), device = &session.device()] {
    if (device->lost()) v.result = VK_ERROR_DEVICE_LOST;
    session.SendReply(*run);
  });
}

void WaitForFences(Session&, const vk::DispatchTable& driver, wire::WaitForFencesArgs& v) {
  v.result = driver.WaitForFences(v.device, v.fenceCount, v.pFences, v.waitAll, 0);
}

void WaitSemaphores(Session&, const vk::DispatchTable& driver, wire::WaitSemaphoresArgs& v) {
  v.result = driver.WaitSemaphores(v.device, v.pWaitInfo, 0);
}

void ResetFences(Session& session, const vk::DispatchTable& driver, wire::ResetFencesArgs& v) {
  for (uint32_t i = 0; i < v.fenceCount; ++i) session.device().AwaitUnwatched(v.pFences[i]);
  v.result = driver.ResetFences(v.device, v.fenceCount, v.pFences);
}

void DestroyFence(Session& session, const vk::DispatchTable& driver, wire::DestroyFenceArgs& v) {
  session.device().AwaitUnwatched(v.fence);
  driver.DestroyFence(v.device, v.fence, nullptr);
}

void CreateSemaphore(Session& session, const vk::DispatchTable& driver, wire::CreateSemaphoreArgs& v) {
  v.result = driver.CreateSemaphore(v.device, v.pCreateInfo, nullptr, v.pSemaphore);
  const auto* type =
      FindInChain<VkSemaphoreTypeCreateInfo>(v.pCreateInfo->pNext, VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO);
  if (v.result == VK_SUCCESS && type != nullptr && type->semaphoreType == VK_SEMAPHORE_TYPE_TIMELINE) {
    session.device().NoteTimeline(*v.pSemaphore);
  }
}

void DestroySemaphore(Session& session, const vk::DispatchTable& driver, wire::DestroySemaphoreArgs& v) {
  session.device().ForgetSemaphore(v.semaphore);
  driver.DestroySemaphore(v.device, v.semaphore, nullptr);
}

// What the device wrote ahead of an event is sent before "set".
void GetEventStatus(Session& session, const vk::DispatchTable& driver, wire::GetEventStatusArgs& v) {
  v.result = driver.GetEventStatus(v.device, v.event);
  if (v.result != VK_EVENT_SET || !session.run().wants_reply || !session.device().MayOweMemory()) return;
  session.device().TellAfterMemory([&session, run = session.DeferReply()] { session.SendReply(*run); });
}

}  // namespace vesper::server::overrides
