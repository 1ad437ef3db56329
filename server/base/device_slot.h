// What a session needs before it may have a device: its worker's share of what the server lends at the same time.
#pragma once

namespace vesper::server {

// Called by the thread that runs the session.
class DeviceSlot {
 public:
  virtual ~DeviceSlot() = default;
  // Waits until the session may have a device. False when no place came free in time.
  virtual bool Take() = 0;
  virtual void GiveBack() = 0;
};

}  // namespace vesper::server
