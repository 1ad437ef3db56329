// `vesper`: runs programs on a remote GPU and finds out why one cannot.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "tools/admin.h"
#include "tools/bench/bench.h"
#include "tools/commands.h"
#include "tools/window/window.h"
#include "tools/window/worker.h"

namespace {

constexpr char kServerHelp[] =
    "the server: a name that `vesper servers` lists, unix:PATH, tls://HOST:PORT, vsock://CID:PORT or tcp://HOST:PORT "
    "(else "
    "$VESPER_SERVER, else what the configuration says, else the user's own Unix socket)";

CLI::App* AddBench(CLI::App& app, vesper::tools::BenchOptions* options) {
  CLI::App* bench = app.add_subcommand("bench", "measure what Vesper costs here, beside the local driver");
  bench->add_option(
      "--server", options->server,
      "the server: a name that `vesper servers` lists, or an address (else one that is started for this)");
  bench->add_option("--rows", options->rows, "which rows: shell patterns with | between")
      ->type_name("PATTERNS")
      ->capture_default_str();
  bench
      ->add_option("--transport", options->transport,
                   "how messages travel; tcp only to a server that is started for this")
      ->check(CLI::IsMember({"ring", "socket", "tcp"}));
  bench->add_option("--delay", options->delay_ms, "what a line in between adds to each round trip")
      ->type_name("MS")
      ->check(CLI::Range(0.0, 10000.0).description(""));
  bench->add_option("--rate", options->rate_mbit, "what it carries each way; 0: no limit")
      ->type_name("MBIT/S")
      ->check(CLI::Range(0.0, 1e6).description(""));
  bench->add_flag("--matrix", options->matrix, "lines of 0, 1 and 20 ms, each of 100 Mbit/s, 1 Gbit/s and no limit")
      ->excludes("--delay")
      ->excludes("--rate");
  bench->add_option("--json", options->json, "write everything to this file")->type_name("FILE");
  bench->add_option("--svg", options->svg, "draw it into this file")->type_name("FILE");
  bench
      ->add_option("--native-driver", options->native_driver,
                   "manifest of the driver to compare with, which a server that is started uses, too (else what the "
                   "loader finds)")
      ->type_name("ICD.json")
      ->check(CLI::ExistingFile.description(""));
  bench->add_flag(
      "--window", options->window,
      "frames in a window instead of rows: how many a second, the first, and what one costs; through servers "
      "over a Unix socket and TCP");
  bench->add_option("--size", options->size, "of that window")
      ->type_name("WxH")
      ->check([](const std::string& text) {
        unsigned width = 0, height = 0;
        char by = 0, more = 0;
        std::istringstream words(text);
        const bool whole = (words >> width >> by >> height) && by == 'x' && !(words >> more);
        return whole && width >= 1 && height >= 1 && width <= 16384 && height <= 16384 ? "" : "as 1920x1080";
      })
      ->capture_default_str();
  bench->add_flag("--quick", options->quick, "one batch a round: whether it works, not how fast");
  bench->add_flag("--list", options->list, "only list the rows");
  bench->footer(
      "Columns: the median of the rounds on the local driver and through the server, vesper/native, and for each "
      "operation the client's round trips, waits, and bytes sent and received.");
  return bench;
}

CLI::App* AddRecord(CLI::App& app, vesper::tools::RecordOptions* options) {
  CLI::App* record =
      app.add_subcommand("record", "run a program as `run` does, and write what it says to the GPU into a file");
  record->add_option("-o,--output", options->file, "the file; sessions after the first get .2, .3 … after its name")
      ->type_name("FILE")
      ->required();
  record->add_option("--server", options->server, kServerHelp);
  record->add_flag("--anonymize", options->anonymize, "leave out names and labels that are for people");
  record->prefix_command();
  record->footer("PROGRAM [ARGUMENT...] follows, after -- if its arguments could be mistaken for ours.");
  return record;
}

CLI::App* AddReplay(CLI::App& app, vesper::tools::ReplayOptions* options) {
  CLI::App* replay = app.add_subcommand("replay", "play what `record` wrote to a server, as fast as that takes it");
  replay->add_option("FILE", options->file, "the recording")->required()->check(CLI::ExistingFile.description(""));
  replay->add_option("--server", options->server, kServerHelp);
  replay->add_option("--frames", options->frames, "end after so many frames")->type_name("N");
  replay->add_flag("--compare", options->compare, "whether memory and presented pictures are as when it was recorded");
  replay->add_option("--loop", options->times, "how many times; 0: until it is interrupted")
      ->type_name("N")
      ->capture_default_str();
  return replay;
}

CLI::App* AddTrace(CLI::App& app, vesper::tools::TraceOptions* options) {
  CLI::App* trace = app.add_subcommand("trace", "print the calls that a recording holds");
  trace->add_option("FILE", options->file, "the recording")->required()->check(CLI::ExistingFile.description(""));
  trace->add_option("--match", options->match, "only commands with such names, a shell pattern")->type_name("PATTERN");
  trace->add_option("--json", options->json, "write a trace for Perfetto (ui.perfetto.dev) or chrome://tracing instead")
      ->type_name("FILE");
  return trace;
}

// The words that follow a subcommand's own.
std::vector<std::string> ProgramOf(const CLI::App* command, char** begin, char** end) {
  std::vector<std::string> program = command->remaining();
  if (begin != end) program.insert(program.end(), begin + 1, end);
  if (!program.empty()) return program;
  const std::string& name = command->get_name();
  std::fprintf(stderr, "vesper %s: which program? vesper %s ... -- PROGRAM [ARGUMENT...]\n", name.c_str(),
               name.c_str());
  std::exit(2);
}

// What whoever runs a server says to it.
class AdminCommands {
 public:
  explicit AdminCommands(CLI::App* app) : app_(app) {
    top_->add_option("--every", seconds_, "seconds between")->check(CLI::Range(0.1, 3600.0))->capture_default_str();
    kill_->add_option("SESSION", session_, "its number")->required();
  }
  AdminCommands(const AdminCommands&) = delete;
  AdminCommands& operator=(const AdminCommands&) = delete;

  // The exit status, where one of them was given.
  std::optional<int> Run() const {
    if (ps_->parsed()) return vesper::tools::ListSessions(admin_);
    if (top_->parsed()) return vesper::tools::WatchSessions(admin_, seconds_);
    if (kill_->parsed()) return vesper::tools::EndSession(admin_, session_);
    if (drain_->parsed()) return vesper::tools::Drain(admin_);
    if (reload_->parsed()) return vesper::tools::ReloadTokens(admin_);
    return std::nullopt;
  }

 private:
  CLI::App* Add(const char* name, const char* text) {
    CLI::App* command = app_->add_subcommand(name, text);
    command->add_option("--admin", admin_,
                        "where the server is reached for this, unix:PATH (else where it is by default)");
    return command;
  }

  CLI::App* const app_;
  std::string admin_;
  uint64_t session_ = 0;
  double seconds_ = 2;
  CLI::App* const ps_ = Add("ps", "list a server's sessions");
  CLI::App* const top_ = Add("top", "the same again and again, with what they use meanwhile");
  CLI::App* const kill_ = Add("kill", "end a session");
  CLI::App* const drain_ = Add("drain", "let a server end with its last session, and take no new ones");
  CLI::App* const reload_ = Add("reload", "let a server read its tokens again");
};

// What has the window of `bench --window` and `doctor --window`.
struct WindowWorker {
  explicit WindowWorker(CLI::App& app, std::string usual_size)
      : size(std::move(usual_size)), command(app.add_subcommand("window-worker")->group("")) {
    command->add_option("--size", size);
    command->add_option("--seconds", work.seconds);
    command->add_flag("--measured,!--shown", work.measured);
  }
  int Serve() {
    char by = 0;
    std::istringstream(size) >> work.width >> by >> work.height;
    return vesper::tools::window::Serve(work);
  }

  vesper::tools::window::Work work;
  std::string size;
  CLI::App* const command;
};

struct DoctorCommand {
  DoctorCommand(CLI::App& app, std::string* server)
      : command(app.add_subcommand("doctor", "check loader, driver, settings, server, versions, line and devices")) {
    command->add_option("--server", *server, kServerHelp);
    command->add_flag("--window", window, "show a window that the server draws: frame rate, latency, bytes");
    command->add_option("--seconds", seconds, "for how long, unless it is closed")
        ->check(CLI::Range(0.1, 86400.0).description(""))
        ->capture_default_str();
    command->footer(
        "Exit status: 0 all is well; 1 this machine's loader, driver or settings; 3 no server answers; 4 it refuses; 5 "
        "it is of "
        "another version; 6 it has no device.");
  }

  CLI::App* const command;
  bool window = false;
  double seconds = 10;
};

int Main(int argc, char** argv) {
  CLI::App app("Vulkan programs on a GPU that is somewhere else");
  app.set_version_flag("--version", VESPER_VERSION);
  app.require_subcommand(1);
  std::string server;

  CLI::App* run = app.add_subcommand("run", "run a program that sees only the remote GPU");
  run->add_option("--server", server, kServerHelp);
  run->prefix_command();
  run->footer("PROGRAM [ARGUMENT...] follows, after -- if its arguments could be mistaken for ours.");

  const DoctorCommand doctor(app, &server);

  bool probe_bytes = false;
  CLI::App* probe = app.add_subcommand("probe", "whether a server takes sessions, without beginning one");
  probe->add_option("--server", server, kServerHelp);
  probe->add_flag("--hex", probe_bytes,
                  "only print the bytes that ask for it, for the health checks of load balancers");

  CLI::App* servers =
      app.add_subcommand("servers", "list the servers that the configuration names, and whether they answer");
  std::string chosen, name;
  CLI::App* use = app.add_subcommand("use", "choose the server that this user's programs use from now on");
  use->add_option("SERVER", chosen, "a name that `vesper servers` lists, an address, or none")->required();
  use->add_option("--as", name, "keep the address under this name");

  vesper::tools::RecordOptions record_options;
  vesper::tools::ReplayOptions replay_options;
  const CLI::App* record = AddRecord(app, &record_options);
  const CLI::App* replay = AddReplay(app, &replay_options);
  vesper::tools::TraceOptions trace_options;
  const CLI::App* trace = AddTrace(app, &trace_options);

  vesper::tools::BenchOptions bench_options;
  const CLI::App* bench = AddBench(app, &bench_options);
  WindowWorker window_worker(app, bench_options.size);
  const CLI::App* bench_rows = app.add_subcommand("bench-rows")->group("");  // what `bench` runs

  AdminCommands admin(&app);

  // What follows "--" is the program's alone.
  char** const end =
      std::find_if(argv + 1, argv + argc, [](const char* argument) { return std::strcmp(argument, "--") == 0; });
  CLI11_PARSE(app, static_cast<int>(end - argv), argv);
  if (doctor.command->parsed()) return vesper::tools::Doctor(server, doctor.window ? doctor.seconds : 0);
  if (probe->parsed()) return probe_bytes ? vesper::tools::PrintProbe() : vesper::tools::Probe(server);
  if (servers->parsed()) return vesper::tools::ListServers();
  if (use->parsed()) return vesper::tools::UseServer(chosen, name);
  if (bench->parsed() && bench_options.window) return vesper::tools::window::BenchWindow(bench_options);
  if (bench->parsed()) return vesper::tools::Bench(bench_options);
  if (window_worker.command->parsed()) return window_worker.Serve();
  if (bench_rows->parsed()) return vesper::tools::BenchRows();
  if (const auto status = admin.Run()) return *status;
  if (replay->parsed()) return vesper::tools::Replay(replay_options);
  if (trace->parsed()) return vesper::tools::Trace(trace_options);
  const std::vector<std::string> program = ProgramOf(record->parsed() ? record : run, end, argv + argc);
  return record->parsed() ? vesper::tools::Record(record_options, program) : vesper::tools::Run(server, program);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "vesper: %s\n", error.what());
    return 1;
  }
}
