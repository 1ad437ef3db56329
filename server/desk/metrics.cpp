#include "server/desk/metrics.h"

#include <prometheus/client_metric.h>
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>
#include <prometheus/metric_type.h>

#include <exception>
#include <utility>

#include "server/base/limits.h"

namespace vesper::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily Family(const char* name, const char* help, MetricType type, double value) {
  MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = type;
  ClientMetric& metric = family.metric.emplace_back();
  (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  return family;
}

// Has no numbers of its own: it asks the supervisor for each answer.
class Collector final : public prometheus::Collectable {
 public:
  Collector(Desk* desk, Steering* steering) : desk_(desk), steering_(steering) {}

  std::vector<MetricFamily> Collect() const override {
    ServerView view;
    if (!desk_->Ask([&] { view = steering_->View(); })) return {};
    Account all = view.ended;
    double memory = 0, devices = 0, broken = 0;
    for (const SessionView& session : view.sessions) {
      all += session.account;
      memory += static_cast<double>(session.memory);
      devices += session.device ? 1 : 0;
      broken += session.broken > 0 ? 1 : 0;
    }
    const auto counter = [](const char* name, const char* help, uint64_t value) {
      return Family(name, help, MetricType::Counter, static_cast<double>(value));
    };
    const auto gauge = [](const char* name, const char* help, double value) {
      return Family(name, help, MetricType::Gauge, value);
    };
    return {
        gauge("vesper_sessions", "Sessions now", static_cast<double>(view.sessions.size())),
        gauge("vesper_sessions_with_device", "Sessions now that have a device", devices),
        gauge("vesper_sessions_broken", "Sessions now whose connection broke, and whose client is waited for", broken),
        gauge("vesper_waiting", "Clients that wait for a worker", view.waiting),
        gauge("vesper_draining", "1 while no new sessions are served", view.draining ? 1 : 0),
        gauge("vesper_memory_bytes", "What the workers of sessions hold", memory),
        gauge("vesper_uptime_seconds", "Since the server's start", view.seconds),
        counter("vesper_sessions_total", "Sessions since the start", view.served),
        counter("vesper_resumptions_total", "Connections that broke and were resumed", all.resumptions),
        counter("vesper_refused_total", "Peers turned away", view.refused),
        counter("vesper_faults_total", "Workers that ended otherwise than they should", view.faults),
        counter("vesper_received_bytes_total", "From clients", all.bytes_in),
        counter("vesper_sent_bytes_total", "To clients", all.bytes_out),
        counter("vesper_unpacked_received_bytes_total", "From clients, before compression", all.unpacked_in),
        counter("vesper_unpacked_sent_bytes_total", "To clients, before compression", all.unpacked_out),
        counter("vesper_memory_received_bytes_total", "Of mapped memory that clients wrote", all.memory_in),
        counter("vesper_memory_sent_bytes_total", "Of mapped memory that GPUs wrote", all.memory_out),
        counter("vesper_memory_compared_bytes_total", "Of mapped memory, to find what GPUs wrote", all.memory_compared),
        counter("vesper_messages_total", "From clients", all.messages),
        counter("vesper_commands_total", "Of Vulkan, run for clients", all.commands),
        counter("vesper_replies_total", "That clients waited for", all.replies),
        Family("vesper_gpu_seconds_total", "That queues were at work", MetricType::Counter,
               static_cast<double>(all.gpu_nanoseconds) / 1e9)};
  }

 private:
  Desk* const desk_;
  Steering* const steering_;
};

class Served final : public Metrics {
 public:
  Served(const std::string& address, Desk* desk, Steering* steering)
      : collector_(std::make_shared<Collector>(desk, steering)), exposer_(address, limits::kMetricsThreads) {
    exposer_.RegisterCollectable(collector_);
  }

 private:
  const std::shared_ptr<Collector> collector_;  // the exposer holds it weakly
  prometheus::Exposer exposer_;
};

}  // namespace

std::unique_ptr<Metrics> Metrics::Open(const std::string& address, Desk* desk, Steering* steering, std::string* error) {
  try {
    return std::make_unique<Served>(address, desk, steering);
  } catch (const std::exception& exception) {
    *error = "no metrics at " + address + ": " + exception.what();
    return nullptr;
  }
}

}  // namespace vesper::server
