// Keeps peers between accept() and their worker. A peer that has not said Hello costs a descriptor and an entry here. What it
// sends is looked at without being taken out of its socket, where its worker reads it later.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/base/limits.h"
#include "server/entry/admission.h"
#include "server/entry/peer.h"

namespace vesper::server {

// Owned by the supervisor, whose only thread calls it. Never waits for a peer.
class Lobby {
 public:
  using Clock = std::chrono::steady_clock;
  struct Limits {
    size_t silent = limits::kMaxStrangers;                           // peers that have not said Hello
    size_t silent_of_one_origin = limits::kMaxStrangersOfOneOrigin;  // of these from one network or local user
    size_t queued = limits::kMaxQueued;                              // peers that wait for a worker
    std::chrono::milliseconds hello = limits::kStrangerPatience;
    std::chrono::milliseconds wait = limits::kWait;
  };

  explicit Lobby(const Limits& limits);
  ~Lobby();  // closes all sockets without telling the peers why
  Lobby(const Lobby&) = delete;
  Lobby& operator=(const Lobby&) = delete;

  bool works() const { return epoll_ >= 0; }
  int fd() const { return epoll_; }  // readable when Look() has something to do

  // Somebody who waits for a worker.
  struct Waiting {
    int socket = -1;
    Admission admission;
  };

  // Takes over a connected non-blocking socket, whose peer is to say Hello. What is known of it already is `admission`.
  void Enter(int socket, const Admission& admission = {});
  // The same for a peer that the door has let in, whose Hello is encrypted, or that says none: only its worker hears it.
  void EnterAdmitted(int socket, const Admission& admission);
  // Tells a peer why it may not come in, and closes its socket.
  void TurnAway(Waiting waiting, const std::string& reason);
  // Finds peers that have said Hello or gone since the last call.
  void Look();
  // Ends peers that have said nothing for too long, tells those in the queue their place, and refuses those that have waited
  // for too long, because of `full`, or while that is empty because workers take too long to start. To be called every limits::kTick while not empty().
  void Tick(const std::string& full);

  bool empty() const { return silent_.empty() && queue_.empty() && refusals_.all_said(); }
  size_t queued() const { return queue_.size(); }
  uint64_t refused() const { return refusals_.total(); }
  size_t queued_of(std::string_view name) const;
  // Takes out one that says it resumes a session, which is what its admission says.
  std::optional<Waiting> NextResuming();
  // Takes out who has waited longest; the socket is the caller's from now on.
  std::optional<Waiting> Next();
  // Puts back what Next() gave, in front of all others: its worker has ended before it took the socket.
  void PutBack(const Waiting& waiting);
  // From now on nobody comes in but to resume a session.
  void Drain();
  // Refuses all who wait, telling them why.
  void RefuseAll(const std::string& reason);
  // Ends the peer that has been silent for longest, for want of descriptors. False when there is none.
  bool Evict();

 private:
  struct Guest {
    int socket = -1;
    Admission admission;
    std::string origin;
    Clock::time_point since;
    Clock::time_point told;  // when it last heard that it waits
  };
  using Guests = std::map<uint64_t, Guest>;  // by their number, the oldest first

  void MakeRoom(const std::string& origin);
  void Hear(uint64_t number);
  void Queue(uint64_t number);
  void End(Guests* guests, Guests::iterator guest);
  void Refuse(Guests* guests, Guests::iterator guest, const std::string& reason);
  void TellPlaces();

  const Limits limits_;
  int epoll_;
  uint64_t numbers_ = 0;
  Guests silent_;
  Guests queue_;
  std::vector<Waiting> resuming_;  // until the supervisor has looked at all who speak at present
  bool draining_ = false;
  RefusalLog refusals_;
};

}  // namespace vesper::server
