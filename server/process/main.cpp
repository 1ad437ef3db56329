// vesper-server: lends this machine's GPUs to Vulkan programs elsewhere.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <string>

#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/base/log_format.h"
#include "server/device/shaders.h"
#include "server/entry/credentials.h"
#include "server/entry/doorkeeper.h"
#include "server/process/probe.h"
#include "server/process/supervisor.h"
#include "server/process/worker.h"

namespace {

namespace limits = vesper::server::limits;

const CLI::App* AddInit(CLI::App* app, vesper::server::InitOptions* options) {
  CLI::App* init = app->add_subcommand("init", "Makes a key, a certificate and a first token for tls://");
  init->add_option("--credentials", options->credentials, "Where to put them")->type_name("FOLDER");
  init->add_option("--host", options->host, "How clients call this machine (default: its name)");
  init->add_option("--port", options->port, "Where it will listen")->capture_default_str();
  return init;
}

const CLI::App* AddToken(CLI::App* app, vesper::server::TokenOptions* options) {
  CLI::App* token = app->add_subcommand("token", "Makes a token, and prints it, or takes one away");
  token->add_option("NAME", options->name, "Whose it is")->required();
  token->add_option("--credentials", options->credentials, "Where tokens are kept")->type_name("FOLDER");
  token->add_option("--max-sessions", options->sessions,
                    "How many sessions it may have at once (default: no limit of its own)");
  token->add_option("--max-memory", options->memory_mib, "How much memory each of them may use, drivers included")
      ->type_name("MIB");
  token
      ->add_option("--max-queued", options->queued_mib,
                   "How much of the work of each of them, and how much of what it has not read, may wait")
      ->type_name("MIB");
  token->add_option("--max-gpu-time", options->gpu_seconds, "As vesper-server's option")->type_name("SECONDS");
  token->add_option("--max-idle", options->idle_seconds, "As vesper-server's option")->type_name("SECONDS");
  token->add_flag("--remove", options->remove, "It is no token any more");
  return token;
}

}  // namespace

// NOLINTNEXTLINE(bugprone-exception-escape, readability-function-size): options in a row; what is thrown ends the server
int main(int argc, char** argv) {
  vesper::server::ServerOptions options;
  CLI::App app{"Lends this machine's GPUs to Vulkan programs in other processes, containers and machines.",
               "vesper-server"};
  app.add_option("--listen", options.listen,
                 "Where to accept clients: unix:PATH, tls://HOST:PORT, vsock://any:PORT, or tcp://HOST:PORT on this "
                 "machine; may be "
                 "repeated. "
                 "Without it, the Unix socket $XDG_RUNTIME_DIR/vesper/server.sock or /tmp/vesper-UID/server.sock")
      ->type_name("ADDRESS");
  app.add_option("--venus", options.venus,
                 "Where to accept Mesa's Venus driver (VN_DEBUG=vtest VTEST_SOCKET_NAME=PATH): unix:PATH; may be "
                 "repeated")
      ->type_name("ADDRESS");
  app.add_flag("--insecure", options.insecure, "Accept clients of other machines without TLS, whoever they are");
  app.add_option("--credentials", options.credentials,
                 "Where `vesper-server init` has put key, certificate and tokens (default: /etc/vesper for root, else "
                 "~/.config/vesper)")
      ->type_name("FOLDER");
  app.add_option("--client-ca", options.client_ca, "Whose certificates clients may have instead of a token")
      ->type_name("FILE");
  app.add_option("--client-crl", options.client_crl,
                 "Which of these certificates are refused: the authority's revocation lists, read again by `vesper "
                 "reload`")
      ->type_name("FILE");
  app.add_option("--allow-user", options.allowed_users, "Who else may use the Unix sockets; may be repeated")
      ->type_name("USER");
  app.add_option("--allow-group", options.allowed_groups, "The same for the members of a group; may be repeated")
      ->type_name("GROUP");
  app.add_option("--allow-cid", options.allowed_cids,
                 "Which virtual machine may use the vsock sockets: its number, local, or any; may be repeated")
      ->type_name("CID");
  app.add_option(
         "--guest", options.guests,
         "Serve a virtual machine of QEMU through memory that it shares, and print the options that QEMU needs: "
         "NAME[,memory=MIB][,ports=N][,venus=MIB], as many MiB (1024) for all its programs, programs (15) at once, "
         "and MiB for Mesa's Venus driver by vesper-agent (none); may be repeated")
      ->type_name("GUEST");
  app.add_option("--guest-folder", options.guest_folder,
                 "Where sockets and memory of guests are (default: /dev/shm/vesper-UID)")
      ->type_name("FOLDER");
  app.add_option("--gpu", options.gpu, "Offer only this GPU: its index as printed at start, or part of its name")
      ->type_name("INDEX|NAME");
  app.add_flag(
         "--validation{log}", options.validation,
         "Check what clients do with the Khronos validation layer, and log what it says; =strict: commands that it "
         "calls errors do not reach the driver")
      ->check(CLI::IsMember({"log", "strict"}));
  app.add_flag("--validate-shaders", options.validate_shaders,
               vesper::server::CanValidateShaders()
                   ? "Let no shader reach the driver that SPIRV-Tools' validator refuses"
                   : "Not in this build, which was made without SPIRV-Tools");
  app.add_option("--log-level", options.log_level, "What to say on stderr")
      ->check(CLI::IsMember({"error", "warn", "info", "debug"}))
      ->capture_default_str();
  app.add_option("--log-format", options.log_format, "How to say it: text, or json, an object a line")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.add_option(
         "--admin", options.admin,
         "Where `vesper ps`, `top`, `kill`, `drain` and `reload` reach this server: unix:PATH, or none (default: "
         "admin.sock beside the default Unix socket)")
      ->type_name("ADDRESS");
  app.add_option("--metrics", options.metrics, "Where Prometheus asks, as 127.0.0.1:9464 (default: nowhere)")
      ->type_name("HOST:PORT");
  app.add_option("--max-gpu-time", options.max_gpu_time,
                 "How long one submit may keep its queue, waiting included, before its session is ended; 0: no limit")
      ->type_name("SECONDS")
      ->capture_default_str();
  app.add_option("--max-idle", options.max_idle,
                 "How long a client may say nothing while its queues are idle before its session is ended; 0: no limit")
      ->type_name("SECONDS")
      ->capture_default_str();
  app.add_option("--max-sessions", options.max_sessions,
                 "How many clients may have a device at once; more wait for one")
      ->check(CLI::Range(1u, limits::kMostDevices))
      ->capture_default_str();
  app.add_option("--max-clients", options.max_clients,
                 "How many clients may be connected at once, with a device or without; more wait (default: four times "
                 "--max-sessions)")
      ->check(CLI::Range(1u, limits::kMostClients));
  app.add_option("--max-wait", options.max_wait, "How long a client waits for its turn before it is refused")
      ->type_name("SECONDS")
      ->check(CLI::Range(1u, static_cast<uint32_t>(std::chrono::seconds(limits::kMostWait).count())))
      ->capture_default_str();
  app.add_option(
         "--resume-for", options.resume_for,
         "How long a session waits for its client to come again when the connection breaks (TCP, TLS, vsock); 0: "
         "it ends with the connection")
      ->type_name("SECONDS")
      ->check(CLI::Range(0u, static_cast<uint32_t>(std::chrono::seconds(limits::kMostResumeFor).count())))
      ->capture_default_str();
  app.add_option("--spares", options.spares, "How many workers are started ahead")
      ->check(CLI::Range(1u, limits::kMostSpares))
      ->capture_default_str();
  app.add_option("--max-objects", options.max_objects, "How many objects one client may have")
      ->check(CLI::Range(limits::kLeastObjects, static_cast<uint32_t>(vesper::HandleTable::kMaxSlots)))
      ->capture_default_str();
  const auto add_size = [&](const char* name, uint32_t* size, const char* text, uint32_t least) {
    app.add_option(name, *size, text)
        ->type_name("MIB")
        ->check(CLI::Range(least, limits::kMostMebibytes))
        ->capture_default_str();
  };
  add_size("--max-message", &options.max_message, "How large one message of a client may be", 1);
  add_size("--max-queued", &options.max_queued, "How much of one client's work may wait for its turn", 1);
  add_size("--max-unread", &options.max_unread, "How much one client may leave unread", 1);
  add_size(
      "--max-memory", &options.max_memory,
      "How much of this machine's memory one client may use, drivers included; half of what there is, unless given; "
      "0: no limit",
      0);
  app.add_option("--max-shared-memory", options.max_shared_mib,
                 "How much memory a session on a Unix socket may share with its worker; beyond it, copies are kept "
                 "equal (default: half of the machine's)")
      ->type_name("MIB")
      ->check(CLI::Range(uint64_t{0}, limits::kMostSharedMebibytes));
  app.add_option(
         "--sandbox", options.sandbox,
         "What workers may do: strict, driver (where a driver needs more) or off (default: the strictest that the "
         "driver works in)")
      ->check(CLI::IsMember({"strict", "driver", "off"}));
  app.add_option(
         "--pipelines", options.pipelines,
         "Where to keep what drivers compile of each client's shaders for its next session, or off (default: "
         "$XDG_CACHE_HOME/vesper/pipelines, else /var/cache/vesper/pipelines for root, ~/.cache/vesper/pipelines "
         "for others)")
      ->type_name("FOLDER");
  app.add_option(
         "--worker-user", options.worker_user,
         "Who workers are when the server is root: a user's name, \"same\", or \"dynamic\", a user of its own for each")
      ->capture_default_str();
  app.add_option("--worker-uid", options.worker_uid)->group("");
  app.add_flag("--probe-sandbox", options.probe_sandbox)->group("");
  app.add_flag("--tls", options.tls)->group("");
  app.add_option("--door-fd", options.door_fd)->group("");
  app.add_option("--worker-fd", options.worker_fd)->group("");
  app.add_flag("--probe", options.probe)->group("");
  vesper::server::InitOptions init_options;
  vesper::server::TokenOptions token_options;
  const CLI::App* init = AddInit(&app, &init_options);
  const CLI::App* token = AddToken(&app, &token_options);
  CLI11_PARSE(app, argc, argv);
  if (init->parsed()) return vesper::server::RunInit(init_options);
  if (token->parsed()) return vesper::server::RunToken(token_options);

  if (options.validate_shaders && !vesper::server::CanValidateShaders()) {
    std::fputs("vesper-server: --validate-shaders is not in this build: build it where spirv-tools is installed\n",
               stderr);
    return 1;
  }
  const bool child = options.worker_fd >= 0 || options.door_fd >= 0;
  if (options.log_format == "json") vesper::server::LogInJson();
  vesper::server::StartLog(vesper::server::LogLevelOf(options.log_level), child);
  if (options.door_fd >= 0) return vesper::server::RunDoorkeeper(options.door_fd, options.sandbox, options.worker_uid);
  if (options.probe_sandbox) return vesper::server::RunSandboxProbe(options);
  if (options.probe) return vesper::server::RunProbe(options);
  if (options.worker_fd >= 0) return vesper::server::RunWorker(options);
  return vesper::server::Supervisor(options).Run();
}
