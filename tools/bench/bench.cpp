#include "tools/bench/bench.h"

#include <cstdio>
#include <fstream>
#include <stdexcept>

#include "tools/bench/bare_socket.h"
#include "tools/bench/destination.h"
#include "tools/bench/measure.h"
#include "tools/bench/report.h"
#include "tools/bench/rows.h"
#include "tools/bench/wake.h"
#include "tools/bench/worker.h"

namespace vesper::tools {
namespace {

using namespace bench;  // NOLINT: this is its command

constexpr double kDelays[] = {0, 1, 20}, kRates[] = {100, 1000, 0};

std::vector<const Row*> Chosen(const std::string& patterns) {
  std::vector<const Row*> rows;
  for (const Row& row : AllRows()) {
    if (Matches(row.name, patterns)) rows.push_back(&row);
  }
  if (rows.empty()) throw std::runtime_error("no row is called " + patterns + "; see vesper bench --list");
  return rows;
}

std::vector<Line> LinesOf(const BenchOptions& options) {
  if (!options.matrix) return {{options.delay_ms, options.rate_mbit}};
  std::vector<Line> lines;
  for (const double delay : kDelays) {
    for (const double rate : kRates) lines.push_back({delay, rate});
  }
  return lines;
}

Report RunOn(const Line& line, const BenchOptions& options, const std::vector<const Row*>& rows,
             Destination* destination, const PrivateFolder& folder) {
  Report report;
  report.line = line;
  report.wake_us = WakeMicroseconds(options.quick ? 50 : 500);
  if (destination->is_tcp()) report.socket = MeasureBareSocket(line, options.quick);
  const Environment vesper = VesperEnvironment(options, destination->Through(line));
  Environment counting = vesper;
  counting["VESPER_STATS"] = folder.path() + "/counts.json";
  Measurement measurement(NativeEnvironment(options), vesper, counting, options.quick ? kQuick : Effort{});
  std::fputs(TableHead().c_str(), stdout);
  measurement.Run(rows, &report, [](const Result& result) {
    std::fputs(TableLine(result).c_str(), stdout);
    std::fflush(stdout);
  });
  std::printf("%s\n\n", Heading(report).c_str());
  return report;
}

void Write(const std::string& path, const std::string& text) {
  if (path.empty()) return;
  std::ofstream file(path);
  file << text;
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

}  // namespace

int Bench(const BenchOptions& options) {
  if (options.list) {
    for (const Row& row : AllRows()) std::printf("%-32s %s\n", row.name.c_str(), std::string(NameOf(row.unit)).c_str());
    return 0;
  }
  const std::vector<const Row*> rows = Chosen(options.rows);
  HeedInterrupts();
  const PrivateFolder folder;
  Destination destination(options, folder);
  std::vector<Report> reports;
  for (const Line& line : LinesOf(options)) {
    reports.push_back(RunOn(line, options, rows, &destination, folder));
    // After each, so that a run that is ended leaves what it found.
    Write(options.json, ToJson(reports));
    Write(options.svg, ToSvg(reports));
  }
  if (reports.size() > 1) std::fputs(MatrixTable(reports).c_str(), stdout);
  for (const Report& report : reports) {
    for (const Result& result : report.results) {
      if (!result.failure.empty()) return 1;
    }
  }
  return 0;
}

int BenchRows() { return Serve(); }

}  // namespace vesper::tools
