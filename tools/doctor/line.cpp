#include "tools/doctor/line.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <span>

#include "runtime/wire/control.h"
#include "runtime/wire/encoder.h"
#include "runtime/wire/record.h"

namespace vesper::tools {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRounds = 21;
constexpr std::chrono::seconds kPatience{5};
constexpr size_t kPiece = size_t{256} << 10;
constexpr size_t kMostBytes = size_t{64} << 20;
constexpr double kLongEnough = 0.1;  // seconds of sending
// Of llama.cpp, per token, as VESPER_STATS counts it (docs/performance.md); a program that presents waits once a frame at most.
constexpr double kWaitsPerToken = 1.3;
constexpr double kPictureBytes = 1920.0 * 1080 * 4;

double Since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// Heartbeats, of which servers ignore the body.
class Beat {
 public:
  Beat(size_t bytes, bool asks) {
    const size_t mark =
        wire::BeginRecord(&out_, static_cast<uint16_t>(wire::Control::kHeartbeat), asks ? wire::kWantsReply : 0);
    uint32_t noise = 1;
    std::vector<uint8_t> body(bytes);
    for (uint8_t& byte : body) byte = static_cast<uint8_t>((noise = noise * 1664525 + 1013904223) >> 24);
    out_.Append(body.data(), body.size());
    wire::EndRecord(&out_, mark);
  }
  bool Send(Channel& channel, uint64_t sequence) const {
    const std::span<const uint8_t> bytes(out_.data(), out_.size());
    return channel.Send(MessageKind::kBatch, sequence, {&bytes, 1}) == ChannelStatus::kOk;
  }

 private:
  wire::ByteBuffer out_;
};

bool AwaitReply(Channel& channel, uint64_t sequence) {
  Message message;
  const auto until = Clock::now() + kPatience;
  while (Clock::now() < until) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    const ChannelStatus status = channel.Receive(&message, left);
    if (status == ChannelStatus::kTimeout) continue;
    if (status != ChannelStatus::kOk || message.kind == MessageKind::kGoodbye) return false;
    if (message.kind == MessageKind::kReply && message.sequence == sequence) return true;
  }
  return false;
}

// 0.234 → "0.23", 12.34 → "12", and no more digits than mean something.
std::string Rounded(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), value < 10 ? "%.2g" : "%.0f", value);
  return text;
}

std::string AtMost(double value) { return value > 1000 ? "more than 1000" : "at most " + Rounded(value); }

}  // namespace

bool MeasureLine(Channel& channel, LineSpeed* speed) {
  uint64_t sequence = 1;
  const Beat asks(0, true);
  std::vector<double> trips;
  for (int i = 0; i < kRounds; ++i, ++sequence) {
    const auto begin = Clock::now();
    if (!asks.Send(channel, sequence) || !AwaitReply(channel, sequence)) return false;
    trips.push_back(Since(begin));
  }
  std::nth_element(trips.begin(), trips.begin() + kRounds / 2, trips.end());
  speed->round_trip = trips[kRounds / 2];
  const Beat bulk(kPiece, false);
  const auto begin = Clock::now();
  size_t sent = 0;
  while (sent < kMostBytes && Since(begin) < kLongEnough) {
    if (!bulk.Send(channel, 0)) return false;
    sent += kPiece;
  }
  if (!asks.Send(channel, sequence) || !AwaitReply(channel, sequence)) return false;
  speed->rate = static_cast<double>(sent) / std::max(Since(begin) - speed->round_trip, 1e-9);
  return true;
}

std::string Describe(const LineSpeed& speed) {
  const double megabytes = speed.rate / 1e6;
  return Rounded(speed.round_trip * 1e3) + " ms a round trip, " +
         (megabytes < 1000 ? Rounded(megabytes) + " MB/s" : Rounded(megabytes / 1e3) + " GB/s") + " to the server";
}

std::vector<std::string> WhatToExpect(const LineSpeed& speed) {
  const double pictures = speed.rate / kPictureBytes;
  const double tokens = 1 / (kWaitsPerToken * speed.round_trip);
  std::vector<std::string> sentences = {
      "expect of the line " + AtMost(pictures) + " frames/s of 1920x1080 where every pixel changes, and",
      AtMost(tokens) + " tokens/s of a language model; the GPU's own time comes on top"};
  if (pictures < 30) sentences.emplace_back("for windows that move a lot use a faster line, or smaller windows");
  if (speed.round_trip > 0.02)
    sentences.emplace_back("each wait for the GPU costs a round trip: take a server that is nearer");
  return sentences;
}

}  // namespace vesper::tools
