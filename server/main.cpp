// vesper-server: lends this machine's GPUs to Vulkan programs elsewhere.
#include <CLI/CLI.hpp>
#include <string>

#include "server/log.h"
#include "server/probe.h"
#include "server/supervisor.h"
#include "server/worker.h"

int main(int argc, char** argv) {
  vesper::server::ServerOptions options;
  CLI::App app{"Lends this machine's GPUs to Vulkan programs in other processes, containers and machines.",
               "vesper-server"};
  app.add_option("--listen", options.listen,
                 "Where to accept clients: unix:PATH or tcp://HOST:PORT; may be repeated. Without "
                 "it, the Unix socket "
                 "$XDG_RUNTIME_DIR/vesper/server.sock or /tmp/vesper-UID/server.sock")
      ->type_name("ADDRESS");
  app.add_option("--gpu", options.gpu, "Offer only this GPU: its index as printed at start, or part of its name")
      ->type_name("INDEX|NAME");
  app.add_flag("--validation", options.validation, "Check what clients do with the Khronos validation layer");
  app.add_option("--log-level", options.log_level, "What to say on stderr")
      ->check(CLI::IsMember({"error", "warn", "info", "debug"}))
      ->capture_default_str();
  app.add_option("--max-sessions", options.max_sessions, "How many clients may be served at once")
      ->check(CLI::Range(1u, 4096u))
      ->capture_default_str();
  app.add_option("--max-objects", options.max_objects, "How many objects one client may have")
      ->check(CLI::Range(1024u, static_cast<uint32_t>(vesper::HandleTable::kMaxSlots)))
      ->capture_default_str();
  const auto add_size = [&](const char* name, uint32_t* size, const char* text, uint32_t least) {
    app.add_option(name, *size, text)->type_name("MIB")->check(CLI::Range(least, 1u << 20))->capture_default_str();
  };
  add_size("--max-message", &options.max_message, "How large one message of a client may be", 1);
  add_size("--max-queued", &options.max_queued, "How much of one client's work may wait for its turn", 1);
  add_size("--max-unread", &options.max_unread, "How much one client may leave unread", 1);
  add_size("--max-memory", &options.max_memory,
           "How much of this machine's memory one client may use, drivers included; 0: no limit", 0);
  app.add_option("--max-shared-memory", options.max_shared_mib,
                 "How much memory a session on a Unix socket may share with its worker; beyond it, copies are kept "
                 "equal (default: half of the machine's)")
      ->type_name("MIB")
      ->check(CLI::Range(uint64_t{0}, uint64_t{1} << 40));
  app.add_option("--worker-fd", options.worker_fd)->group("");
  app.add_flag("--probe", options.probe)->group("");
  CLI11_PARSE(app, argc, argv);

  vesper::server::StartLog(vesper::server::LogLevelOf(options.log_level), options.worker_fd >= 0);
  if (options.probe) return vesper::server::RunProbe(options);
  if (options.worker_fd >= 0) return vesper::server::RunWorker(options);
  return vesper::server::Supervisor(options).Run();
}
