// Which server a program uses, where VESPER_SERVER does not say it: ~/.config/vesper/config.toml ($XDG_CONFIG_HOME), then
// /etc/vesper/config.toml.
//
//   server = "workstation"          # what programs use: a name of a server below, or an address; "none" for no GPU of ours
//   [servers.workstation]
//   address = "tls://ws.example:7700"
//   token = "…"                     # may stand in the address as well, as may the fingerprint
//   fingerprint = "…"
//   [[programs]]                    # the first that matches decides, ahead of `server`
//   match = "blender*"              # the program's file name; * and ? as in a shell
//   server = "none"
//
// Where both files say something the user's holds: servers by their names, rules in the order user's, system's.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/address.h"

namespace vesper {

class Configuration {
 public:
  // Of the user who runs this program; a program with more rights than that user (set-user-ID) heeds the system's alone. What
  // is wrong with a file is a sentence in `wrong`, and nothing of that file holds.
  static Configuration Read(std::vector<std::string>* wrong);
  // Of texts, the first of which takes precedence, each with the name that sentences call it by.
  static Configuration Of(const std::vector<std::pair<std::string, std::string>>& texts,
                          std::vector<std::string>* wrong);

  // The user's file, whether it exists or not; empty where there is no home.
  static std::string UserFile();

  struct Server {
    std::string name;
    Address address;
  };
  const std::vector<Server>& servers() const { return servers_; }
  // A name of a server or an address, as VESPER_SERVER and --server have it. nullopt with a sentence.
  std::optional<Address> Find(const std::string& text, std::string* error) const;
  // The same for several with commas between; empty with a sentence where one of them is wrong.
  std::vector<Address> FindAll(const std::string& text, std::string* error) const;
  // What the files say of a program with that file name: a text for Find(), "none", or empty where they say nothing.
  std::string For(std::string_view program) const;

 private:
  struct Rule {
    std::string match, server;
  };
  bool Add(const std::string& file, const std::string& text, std::vector<std::string>* wrong);

  std::string server_;
  std::vector<Server> servers_;
  std::vector<Rule> rules_;
};

// The addresses that this program is to use, one or several with commas between: as ServerOfThisProgram() finds its one, which is
// the first of them. Empty with an empty `error` for none, with a sentence where what was chosen is wrong.
std::vector<Address> ServersOfThisProgram(bool* chosen, std::string* error);
// The address that this program is to use: VESPER_SERVER, else what the files say of it, else the user's own socket, and then
// `chosen` is false. nullopt with an empty `error` for none, with a sentence where what was chosen is wrong.
std::optional<Address> ServerOfThisProgram(bool* chosen, std::string* error);

}  // namespace vesper
