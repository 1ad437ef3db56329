#include "tools/bench/report.h"

#include <cmath>
#include <cstdarg>
#include <cstdio>

namespace vesper::tools::bench {
namespace {

[[gnu::format(printf, 1, 2)]] std::string Format(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  return text;
}

// Three digits that count, without an exponent.
std::string Short(double value) {
  if (value == 0) return "0";
  const int digits = 2 - static_cast<int>(std::floor(std::log10(std::abs(value))));
  return Format("%.*f", digits < 0 ? 0 : digits > 6 ? 6 : digits, value);
}

std::string ShortOf(const std::optional<Summary>& summary) { return summary ? Short(summary->median) : "-"; }

std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += static_cast<unsigned char>(c) < 0x20 ? Format("\\u%04x", c) : std::string(1, c);
  }
  return quoted + '"';
}

std::string JsonOf(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? Format("%.6g", *value) : "null";
}

std::string JsonOf(const std::optional<Summary>& summary) {
  if (!summary) return "null";
  return Format(R"({"median": %.6g, "least": %.6g, "most": %.6g, "rounds": %zu})", summary->median, summary->least,
                summary->most, summary->count);
}

std::string JsonOf(const std::optional<PerOperation>& counts) {
  if (!counts) return "null";
  return Format(R"({"round_trips": %.6g, "waits": %.6g, "bytes_sent": %.6g, "bytes_received": %.6g})", counts->trips,
                counts->waits, counts->sent, counts->received);
}

std::string JsonOf(const std::optional<BareSocket>& socket) {
  if (!socket) return "null";
  return Format(R"({"megabytes_per_second": %.6g, "trip_us": %.6g})", socket->megabytes, socket->trip_us);
}

std::string JsonOf(const Result& result) {
  return "{\"name\": " + Quoted(result.name) + ", \"unit\": \"" + std::string(NameOf(result.unit)) +
         "\", \"better\": \"" + (IsRate(result.unit) ? "more" : "less") +
         "\",\n       \"native\": " + JsonOf(result.native) + ",\n       \"vesper\": " + JsonOf(result.vesper) +
         ",\n       \"ratio\": " + JsonOf(result.Ratio()) + ", \"per_operation\": " + JsonOf(result.counts) +
         ", \"failure\": " + (result.failure.empty() ? "null" : Quoted(result.failure)) + "}";
}

std::string JsonOf(const Report& report) {
  std::string text =
      Format("    {\"delay_ms\": %.6g, \"rate_mbit\": %.6g, ", report.line.delay_ms, report.line.rate_mbit);
  text += "\"transport\": " + Quoted(report.transport) + ", \"native_device\": " + Quoted(report.native_device) +
          ", \"vesper_device\": " + Quoted(report.vesper_device) + ", \"wake_us\": " + JsonOf(report.wake_us) +
          ", \"bare_socket\": " + JsonOf(report.socket) + ",\n     \"rows\": [";
  const char* separator = "\n      ";
  for (const Result& result : report.results) {
    text += separator + JsonOf(result);
    separator = ",\n      ";
  }
  return text + "]}";
}

// How often a row of Vesper's takes the native time; of rates the other way round.
std::optional<double> Slowdown(const Result& result) {
  const auto ratio = result.Ratio();
  if (!ratio || !(*ratio > 0)) return std::nullopt;
  return IsRate(result.unit) ? 1 / *ratio : *ratio;
}

std::string Escaped(const std::string& text) {
  std::string escaped;
  for (const char c : text) escaped += c == '<' ? "&lt;" : c == '&' ? "&amp;" : std::string(1, c);
  return escaped;
}

// From 1/100 to 10,000 times.
class Drawing {
 public:
  explicit Drawing(const std::vector<Report>& reports) : reports_(reports) {}
  std::string Draw() {
    const std::vector<Result>& rows = reports_.front().results;
    const double bottom = kTop + kStep * static_cast<double>(rows.size());
    const double height = bottom + kStep * (static_cast<double>(reports_.size()) + 2);
    text_ = Format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" font-family=\"sans-serif\" "
        "font-size=\"11\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
        kLeft + kWidth + 40, height);
    for (int power = kFirst; power <= kLast; ++power) Scale(power, bottom);
    for (size_t i = 0; i < rows.size(); ++i) Row(i, rows[i].name);
    for (size_t i = 0; i < reports_.size(); ++i) {
      Dot(kLeft, bottom + kStep * (static_cast<double>(i) + 1.5), i);
      Text(kLeft + 10, bottom + kStep * (static_cast<double>(i) + 1.5) + 4, Heading(reports_[i]), "start");
    }
    return text_ + "</svg>\n";
  }

 private:
  static constexpr double kLeft = 200, kTop = 30, kStep = 14, kWidth = 600;
  static constexpr int kFirst = -2, kLast = 4;

  static double Across(double factor) {
    const double power = std::min<double>(std::max<double>(std::log10(factor), kFirst), kLast);
    return kLeft + kWidth * (power - kFirst) / (kLast - kFirst);
  }
  void Text(double x, double y, const std::string& text, const char* anchor) {
    text_ += Format("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor) + Escaped(text) + "</text>\n";
  }
  void Dot(double x, double y, size_t report) {
    text_ += Format("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"hsl(%d,70%%,45%%)\"/>\n", x, y,
                    static_cast<int>(report * 360 / reports_.size() + 210) % 360);
  }
  void Scale(int power, double bottom) {
    const double x = Across(std::pow(10, power));
    text_ += Format("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", x, kTop - 6, x, bottom,
                    power == 0 ? "black" : "#ccc");
    Text(x, kTop - 12, power == 0 ? "as the driver" : Format("%g x the time", std::pow(10, power)), "middle");
  }
  void Row(size_t row, const std::string& name) {
    const double y = kTop + kStep * (static_cast<double>(row) + 0.5);
    Text(kLeft - 8, y + 4, name, "end");
    for (size_t i = 0; i < reports_.size(); ++i) {
      const auto slowdown = Slowdown(reports_[i].results[row]);
      if (slowdown) Dot(Across(*slowdown), y, i);
    }
  }

  const std::vector<Report>& reports_;
  std::string text_;
};

}  // namespace

std::optional<double> Result::Ratio() const {
  if (!native || !vesper || native->median == 0) return std::nullopt;
  return vesper->median / native->median;
}

std::string Line::Name() const {
  const std::string rate = rate_mbit == 0      ? "no limit"
                           : rate_mbit >= 1000 ? Format("%g Gbit/s", rate_mbit / 1000)
                                               : Format("%g Mbit/s", rate_mbit);
  return Format("%g ms, ", delay_ms) + rate;
}

std::string TableHead() {
  return Format("%-32s %-9s %10s %10s %8s %8s %8s %11s %11s\n", "row", "unit", "native", "vesper", "ratio", "trips",
                "waits", "sent", "received");
}

std::string TableLine(const Result& result) {
  const auto ratio = result.Ratio();
  std::string text =
      Format("%-32s %-9s %10s %10s %8s", result.name.c_str(), std::string(NameOf(result.unit)).c_str(),
             ShortOf(result.native).c_str(), ShortOf(result.vesper).c_str(), ratio ? Short(*ratio).c_str() : "-");
  if (result.counts) {
    text += Format(" %8s %8s %11s %11s", Short(result.counts->trips).c_str(), Short(result.counts->waits).c_str(),
                   Short(result.counts->sent).c_str(), Short(result.counts->received).c_str());
  }
  if (!result.failure.empty()) text += "  FAILED: " + result.failure;
  return text + '\n';
}

std::string Heading(const Report& report) {
  std::string text = report.transport;
  if (report.line.is_proxied()) text += ", " + report.line.Name();
  text += ": " + report.vesper_device;
  if (report.native_device != report.vesper_device) {
    text += "; native: " + (report.native_device.empty() ? "none" : report.native_device);
  }
  if (report.wake_us) text += "; a wake is " + Short(*report.wake_us) + " us";
  if (report.socket) {
    text += "; a bare socket carries " + Short(report.socket->megabytes) + " MB/s, there and back in " +
            Short(report.socket->trip_us) + " us";
  }
  return text;
}

std::string MatrixTable(const std::vector<Report>& reports) {
  std::string text = Format("%-32s %-9s %10s", "row", "unit", "native");
  for (const Report& report : reports) text += Format("  %17s", report.line.Name().c_str());
  text += '\n';
  for (size_t row = 0; row < reports.front().results.size(); ++row) {
    const Result& first = reports.front().results[row];
    text += Format("%-32s %-9s %10s", first.name.c_str(), std::string(NameOf(first.unit)).c_str(),
                   ShortOf(first.native).c_str());
    for (const Report& report : reports) text += Format("  %17s", ShortOf(report.results[row].vesper).c_str());
    text += '\n';
  }
  return text;
}

std::string ToJson(const std::vector<Report>& reports) {
  std::string text = "{\n  \"runs\": [";
  const char* separator = "\n";
  for (const Report& report : reports) {
    text += separator + JsonOf(report);
    separator = ",\n";
  }
  return text + "]\n}\n";
}

std::string ToSvg(const std::vector<Report>& reports) { return Drawing(reports).Draw(); }

}  // namespace vesper::tools::bench
