#include "tools/bench/rows.h"

#include <array>

namespace vesper::tools::bench {
namespace {

struct UnitFacts {
  std::string_view name;
  double scale;
  bool is_rate;
};
constexpr std::array<UnitFacts, 6> kUnits = {{{"ms", 1e3, false},
                                              {"us", 1e6, false},
                                              {"ns", 1e9, false},
                                              {"MB/s", 1e-6, true},
                                              {"M/s", 1e-6, true},
                                              {"frames/s", 1, true}}};

const UnitFacts& Facts(Unit unit) { return kUnits[static_cast<size_t>(unit)]; }

}  // namespace

std::string_view NameOf(Unit unit) { return Facts(unit).name; }
bool IsRate(Unit unit) { return Facts(unit).is_rate; }

double FigureOf(Unit unit, double amount, double seconds) {
  return IsRate(unit) ? amount / seconds * Facts(unit).scale : seconds / amount * Facts(unit).scale;
}

double Work::Run(uint64_t batches) {
  Stopwatch watch;
  for (uint64_t i = 1; i <= batches; ++i) {
    Prepare();
    Batch(&watch);
    Verify(i == batches);
  }
  return watch.seconds();
}

const std::vector<Row>& AllRows() {
  static const std::vector<Row> rows = [] {
    std::vector<Row> all;
    for (const auto add : {AddStartupRows, AddSyncRows, AddChurnRows, AddRecordRows, AddSubmitRows, AddMemoryRows,
                           AddProductRows, AddFrameRows}) {
      add(all);
    }
    return all;
  }();
  return rows;
}

}  // namespace vesper::tools::bench
