#include "tools/window/window.h"

#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "tools/bench/counted.h"
#include "tools/bench/destination.h"
#include "tools/bench/process.h"
#include "tools/bench/samples.h"
#include "tools/installation.h"

namespace vesper::tools::window {

using namespace bench;  // NOLINT: its processes

namespace {

using Clock = std::chrono::steady_clock;
constexpr int kPatienceMilliseconds = 120'000;

struct Done {
  std::string device, window;
  double frames = 0, seconds = 0, cpu = 0, latency = -1;
};

// A worker, and what it says.
class Worker {
 public:
  Worker(const BenchOptions& options, double seconds, bool measured, const Environment& environment)
      : process_({BinaryFolder() + "/vesper", "window-worker", "--size", options.size, "--seconds",
                  std::to_string(seconds), measured ? "--measured" : "--shown"},
                 environment, "") {}

  // Everything up to a line that begins so. Throws std::runtime_error with why it does not come.
  void Await(const std::string& word) {
    for (;;) {
      const auto line = process_.Hear(kPatienceMilliseconds);
      if (!line) throw std::runtime_error("the program with the window ended, or says nothing");
      const size_t space = line->find(' ');
      const std::string rest = space == std::string::npos ? "" : line->substr(space + 1);
      if (line->starts_with("failed")) throw std::runtime_error(rest);
      if (line->starts_with("device")) done_.device = rest;
      if (line->starts_with("window")) done_.window = rest;
      if (line->starts_with("done"))
        std::istringstream(rest) >> done_.frames >> done_.seconds >> done_.cpu >> done_.latency;
      if (line->starts_with(word)) return;
    }
  }
  void Go() const { process_.Say("go"); }
  const Done& done() const { return done_; }

 private:
  Process process_;
  Done done_;
};

// A way that frames go, and what was found on it.
struct Path {
  std::string name;
  Environment environment;
  Destination* destination = nullptr;  // of the local driver: none
  std::string window = {};
  std::vector<double> rate = {}, first = {}, client = {}, server = {}, kilobytes = {};
};

void MeasureFirst(const BenchOptions& options, Path* path) {
  const Clock::time_point start = Clock::now();
  Worker worker(options, 0, true, path->environment);
  worker.Await("done");
  path->first.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
}

void MeasureRate(const BenchOptions& options, double seconds, const std::string& counts, Path* path) {
  Environment environment = path->environment;
  std::remove(counts.c_str());
  if (path->destination != nullptr) environment["VESPER_STATS"] = counts;
  const auto used = [&]() { return path->destination == nullptr ? std::nullopt : path->destination->CpuSeconds(); };
  std::optional<double> before, after;
  {
    Worker worker(options, seconds, true, environment);
    worker.Await("ready");
    before = used();
    worker.Go();
    worker.Await("done");
    after = used();
    const Done& done = worker.done();
    path->window = done.device + ", " + done.window;
    if (done.frames == 0) throw std::runtime_error("no frame came");
    path->rate.push_back(done.frames / done.seconds);
    path->client.push_back(done.cpu / done.frames * 1e3);
    if (before) path->server.push_back((*after - *before) / done.frames * 1e3);
  }
  const Counted counted(counts);  // written when the process ended
  if (counted.empty() || counted.Number("frames") == 0) return;
  path->kilobytes.push_back(static_cast<double>(counted.Number("bytes_received")) /
                            static_cast<double>(counted.Number("frames")) / 1e3);
}

std::string Cell(const std::vector<double>& samples) {
  if (samples.empty()) return "-";
  char text[32];
  std::snprintf(text, sizeof(text), "%.*f", Summarize(samples).median < 10 ? 2 : 1, Summarize(samples).median);
  return text;
}

std::string Table(const std::vector<Path>& paths) {
  std::string table;
  const auto row = [&table](const std::vector<std::string>& cells) {
    char text[256];
    std::snprintf(text, sizeof(text), "%-8s %10s %8s %10s %8s %10s %14s %14s\n", cells[0].c_str(), cells[1].c_str(),
                  cells[2].c_str(), cells[3].c_str(), cells[4].c_str(), cells[5].c_str(), cells[6].c_str(),
                  cells[7].c_str());
    table += text;
  };
  row({"path", "frames/s", "ratio", "first_ms", "ratio", "KB/frame", "client_cpu_ms", "server_cpu_ms"});
  const Path& native = paths.front();
  const auto ratio = [](const std::vector<double>& one, const std::vector<double>& other) {
    if (one.empty() || other.empty()) return Cell({});
    return Cell({Summarize(one).median / Summarize(other).median});
  };
  for (const Path& path : paths) {
    row({path.name, Cell(path.rate), ratio(path.rate, native.rate), Cell(path.first), ratio(path.first, native.first),
         Cell(path.kilobytes), Cell(path.client), Cell(path.server)});
  }
  return table;
}

void WriteJson(const std::string& file, const std::vector<Path>& paths) {
  std::ofstream out(file);
  const auto value = [](const std::vector<double>& samples) {
    return samples.empty() ? std::string("null") : std::to_string(Summarize(samples).median);
  };
  out << "{\"paths\": [";
  for (const Path& path : paths) {
    out << (&path == &paths.front() ? "" : ",") << "\n  {\"path\": \"" << path.name
        << "\", \"frames_per_second\": " << value(path.rate) << ", \"first_ms\": " << value(path.first)
        << ", \"kilobytes_per_frame\": " << value(path.kilobytes) << ", \"client_cpu_ms\": " << value(path.client)
        << ", \"server_cpu_ms\": " << value(path.server) << "}";
  }
  out << "\n]}\n";
  if (!out.flush()) throw std::runtime_error("cannot write " + file);
}

}  // namespace

Found ShowWindow(const std::string& address, double seconds) {
  const PrivateFolder folder;
  const std::string counts = folder.path() + "/counts.json";
  Found found;
  {
    Environment environment = VesperEnvironment({}, address);
    environment["VESPER_STATS"] = counts;
    Worker worker({}, seconds, false, environment);
    worker.Await("done");
    const Done& done = worker.done();
    found.device = done.device;
    found.path = done.window;
    if (done.seconds > 0) found.frames_per_second = done.frames / done.seconds;
    if (done.latency >= 0) found.latency_ms = done.latency * 1e3;
  }
  const Counted counted(counts);
  if (counted.empty()) return found;
  found.path += ", " + counted.Text("transport");
  if (counted.Number("frames") == 0) return found;
  found.kilobytes_per_frame =
      static_cast<double>(counted.Number("bytes_received")) / static_cast<double>(counted.Number("frames")) / 1e3;
  return found;
}

int BenchWindow(const BenchOptions& options) {
  HeedInterrupts();
  const PrivateFolder folder;
  const int rounds = options.quick ? 1 : 3;
  const int firsts = options.quick ? 1 : 3;  // in each round
  const double seconds = options.quick ? 0.3 : 3;
  const Line line{options.delay_ms, options.rate_mbit};
  std::vector<std::unique_ptr<Destination>> destinations;
  std::vector<Path> paths;
  paths.push_back({"native", NativeEnvironment(options)});
  const auto add = [&](const BenchOptions& of) {
    destinations.push_back(std::make_unique<Destination>(of, folder));
    Destination* destination = destinations.back().get();
    paths.push_back(
        {destination->is_tcp() ? "tcp" : "unix", VesperEnvironment(of, destination->Through(line)), destination});
  };
  add(options);
  if (options.server.empty() && options.transport.empty() && !line.is_proxied()) {
    BenchOptions tcp = options;
    tcp.transport = "tcp";
    add(tcp);
  }
  for (int round = 0; round < rounds; ++round) {
    for (Path& path : paths) {
      for (int i = 0; i < firsts; ++i) MeasureFirst(options, &path);
      MeasureRate(options, seconds, folder.path() + "/counts.json", &path);
    }
  }
  std::fputs(Table(paths).c_str(), stdout);
  for (const Path& path : paths) std::printf("%s: %s\n", path.name.c_str(), path.window.c_str());
  if (!options.json.empty()) WriteJson(options.json, paths);
  return 0;
}

}  // namespace vesper::tools::window
