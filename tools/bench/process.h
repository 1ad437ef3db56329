// Processes of `vesper bench`: those that run the rows, and a server. They end with their parent.
#pragma once

#include <sys/types.h>

#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace vesper::tools::bench {

// Variables of a child that differ from ours; without a value: not set.
using Environment = std::map<std::string, std::optional<std::string>>;

// From now on SIGINT and SIGTERM make the next Hear() throw Interrupted, so that nothing is left behind.
void HeedInterrupts();
class Interrupted : public std::exception {
 public:
  const char* what() const noexcept override { return "interrupted"; }
};

// A folder that only this user can look into, gone with this value. Throws std::runtime_error.
class PrivateFolder {
 public:
  PrivateFolder();
  ~PrivateFolder();
  PrivateFolder(const PrivateFolder&) = delete;
  PrivateFolder& operator=(const PrivateFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A program with pipes to and from it. Throws std::runtime_error when it cannot be started.
class Process {
 public:
  // Its stderr goes to the file `log`, or to ours when that is empty.
  Process(std::vector<std::string> arguments, const Environment& environment, const std::string& log);
  ~Process();  // closes its standard input, and ends it when it does not end by that
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // False when it does not read any more.
  bool Say(const std::string& line) const;
  // The next line that it says; nullopt when it ended, or said nothing for so long.
  std::optional<std::string> Hear(int timeout_ms);
  // By a signal, which it is given time to heed.
  void Terminate() const;
  pid_t pid() const { return pid_; }

 private:
  bool WaitFor(int timeout_ms) const;

  pid_t pid_ = -1;
  int to_ = -1, from_ = -1;
  std::string heard_;
};

// vesper-server beside this program, on `driver` (the loader's choice when empty).
class OwnServer {
 public:
  // `listen` is an address; a port of 0 is one of its choice. Throws std::runtime_error with what it said.
  OwnServer(const std::string& listen, const std::string& driver, const PrivateFolder& folder);
  ~OwnServer();
  const std::string& address() const { return address_; }
  // What it has used so far, its processes included.
  double CpuSeconds() const;

 private:
  std::unique_ptr<Process> process_;
  std::string address_;
};

}  // namespace vesper::tools::bench
