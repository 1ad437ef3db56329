// `vesper`: runs programs on a remote GPU and finds out why one cannot.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "tools/commands.h"

namespace {

constexpr char kServerHelp[] =
    "where the server is: unix:PATH or tcp://HOST:PORT (else $VESPER_SERVER, else the local "
    "defaults)";

int Main(int argc, char** argv) {
  CLI::App app("Vulkan programs on a GPU that is somewhere else");
  app.set_version_flag("--version", VESPER_VERSION);
  app.require_subcommand(1);
  std::string server;

  CLI::App* run = app.add_subcommand("run", "run a program that sees only the remote GPU");
  run->add_option("--server", server, kServerHelp);
  run->prefix_command();
  run->footer("PROGRAM [ARGUMENT...] follows, after -- if its arguments could be mistaken for ours.");

  CLI::App* doctor = app.add_subcommand("doctor", "check loader, driver, server and versions");
  doctor->add_option("--server", server, kServerHelp);

  // What follows "--" is the program's alone.
  char** const end =
      std::find_if(argv + 1, argv + argc, [](const char* argument) { return std::strcmp(argument, "--") == 0; });
  CLI11_PARSE(app, static_cast<int>(end - argv), argv);
  if (doctor->parsed()) return vesper::tools::Doctor(server);
  std::vector<std::string> program = run->remaining();
  if (end != argv + argc) program.insert(program.end(), end + 1, argv + argc);
  if (program.empty()) {
    std::fprintf(stderr, "vesper run: which program? vesper run -- PROGRAM [ARGUMENT...]\n");
    return 2;
  }
  return vesper::tools::Run(server, program);
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
