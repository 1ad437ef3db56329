#include "runtime/configuration.h"

#include <fnmatch.h>
#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <sstream>

// Inside programs of others nothing is thrown for what a file says.
#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "runtime/environment.h"

namespace vesper {
namespace {

constexpr char kSystemFile[] = "/etc/vesper/config.toml";
constexpr std::streamsize kMostBytes = std::streamsize{1} << 20;
constexpr char kNone[] = "none";

// nullopt where the file is not there or cannot be read.
std::optional<std::string> Content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::string text(static_cast<size_t>(kMostBytes), '\0');
  file.read(text.data(), kMostBytes);
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

std::string Text(const toml::table& table, std::string_view key) { return table[key].value_or(std::string()); }

// The first key of `table` that is none of `known`; empty without one.
std::string Unknown(const toml::table& table, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : table) {
    if (std::find(known.begin(), known.end(), key.str()) == known.end()) return std::string(key.str());
  }
  return {};
}

std::optional<Address> AddressOf(const toml::table& server, std::string* error) {
  if (const std::string key = Unknown(server, {"address", "token", "fingerprint"}); !key.empty()) {
    *error = key + " is nothing that it can say; address, token and fingerprint are";
    return std::nullopt;
  }
  std::optional<Address> address = ParseAddress(Text(server, "address"), error);
  if (!address) return std::nullopt;
  const bool secrets = server.contains("token") || server.contains("fingerprint");
  if (secrets && address->kind != Address::Kind::kTls) {
    *error = "a token or fingerprint is of use with tls:// alone";
    return std::nullopt;
  }
  if (!secrets) return address;
  // Again as a whole, so that both are checked as they are in addresses.
  if (server.contains("token")) address->token = Text(server, "token");
  if (server.contains("fingerprint")) address->fingerprint = Text(server, "fingerprint");
  return ParseAddress(address->WithSecrets(), error);
}

std::string ProgramName() {
  std::array<char, PATH_MAX> path{};
  const ssize_t size = readlink("/proc/self/exe", path.data(), path.size());
  const std::string_view whole(path.data(), static_cast<size_t>(std::max<ssize_t>(size, 0)));
  return std::string(whole.substr(whole.rfind('/') + 1));
}

// Where the address that begins there ends: at a comma, but for the one within guest:PORT,FILE.
size_t EndOfAddress(const std::string& text, size_t begin) {
  constexpr std::string_view kGuest = "guest:", kFound = "guest://";
  const std::string_view rest = std::string_view(text).substr(begin);
  size_t comma = rest.find(',');
  if (comma != rest.npos && rest.starts_with(kGuest) && (!rest.starts_with(kFound) || comma != kFound.size())) {
    comma = rest.find(',', comma + 1);
  }
  return comma == rest.npos ? text.size() : begin + comma;
}

}  // namespace

std::string Configuration::UserFile() {
  if (const char* folder = Setting("XDG_CONFIG_HOME")) return std::string(folder) + "/vesper/config.toml";
  const char* home = Setting("HOME");
  return home == nullptr ? std::string() : std::string(home) + "/.config/vesper/config.toml";
}

Configuration Configuration::Read(std::vector<std::string>* wrong) {
  std::vector<std::pair<std::string, std::string>> texts;
  for (const std::string& path : {UserFile(), std::string(kSystemFile)}) {
    if (path.empty()) continue;
    if (auto text = Content(path)) texts.emplace_back(path, std::move(*text));
  }
  return Of(texts, wrong);
}

Configuration Configuration::Of(const std::vector<std::pair<std::string, std::string>>& texts,
                                std::vector<std::string>* wrong) {
  Configuration all;
  for (const auto& [name, text] : texts) {
    Configuration one;
    if (!one.Add(name, text, wrong)) continue;
    if (all.server_.empty()) all.server_ = one.server_;
    for (Server& server : one.servers_) {
      const auto same = [&server](const Server& each) { return each.name == server.name; };
      if (std::none_of(all.servers_.begin(), all.servers_.end(), same)) all.servers_.push_back(std::move(server));
    }
    all.rules_.insert(all.rules_.end(), one.rules_.begin(), one.rules_.end());
  }
  return all;
}

bool Configuration::Add(const std::string& file, const std::string& text, std::vector<std::string>* wrong) {
  const auto refuse = [&](const std::string& why) {
    wrong->push_back(file + ": " + why);
    return false;
  };
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    return refuse("line " + std::to_string(parsed.error().source().begin.line) + ": " +
                  std::string(parsed.error().description()));
  }
  const toml::table& table = parsed.table();
  if (const std::string key = Unknown(table, {"server", "servers", "programs"}); !key.empty()) {
    return refuse(key + " is nothing that it can say; server, servers and programs are");
  }
  server_ = Text(table, "server");
  if (const toml::table* servers = table["servers"].as_table()) {
    for (const auto& [name, value] : *servers) {
      std::string error = "it is no table";
      const toml::table* server = value.as_table();
      const auto address = server == nullptr ? std::nullopt : AddressOf(*server, &error);
      if (!address) return refuse("servers." + std::string(name.str()) + ": " + error);
      servers_.push_back({std::string(name.str()), *address});
    }
  }
  const toml::array* programs = table["programs"].as_array();
  for (size_t i = 0; programs != nullptr && i < programs->size(); ++i) {
    const toml::table* rule = programs->get(i)->as_table();
    const bool whole = rule != nullptr && Unknown(*rule, {"match", "server"}).empty() && rule->size() == 2;
    if (!whole) return refuse("programs[" + std::to_string(i) + "]: it says match and server, and nothing else");
    rules_.push_back({Text(*rule, "match"), Text(*rule, "server")});
  }
  return true;
}

std::optional<Address> Configuration::Find(const std::string& text, std::string* error) const {
  for (const Server& server : servers_) {
    if (server.name == text) return server.address;
  }
  if (text.find(':') != text.npos) return ParseAddress(text, error);
  *error = "\"" + text + "\" is neither a server of the configuration (`vesper servers` lists them) nor an address";
  return std::nullopt;
}

std::string Configuration::For(std::string_view program) const {
  const std::string name(program);
  for (const Rule& rule : rules_) {
    if (fnmatch(rule.match.c_str(), name.c_str(), 0) == 0) return rule.server;
  }
  return server_;
}

std::vector<Address> Configuration::FindAll(const std::string& text, std::string* error) const {
  std::vector<Address> found;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = EndOfAddress(text, begin);
    const auto address = Find(text.substr(begin, end - begin), error);
    if (!address) return {};
    found.push_back(*address);
    begin = end + 1;
  }
  return found;
}

std::vector<Address> ServersOfThisProgram(bool* chosen, std::string* error) {
  const char* said = Setting("VESPER_SERVER");
  std::vector<std::string> wrong;
  // No file is read for a single address.
  const std::string_view all = said == nullptr ? "" : said;
  const bool plain = all.find(':') != all.npos && all.find(',') == all.npos;
  const Configuration configuration = plain ? Configuration() : Configuration::Read(&wrong);
  const std::string text = said != nullptr ? std::string(said) : configuration.For(ProgramName());
  error->clear();
  *chosen = !text.empty();
  if (text == kNone) return {};
  if (*chosen) {
    auto addresses = configuration.FindAll(text, error);
    if (addresses.empty() && !wrong.empty()) *error += " (" + wrong.front() + ")";
    return addresses;
  }
  if (!wrong.empty()) {
    *error = wrong.front();
    *chosen = true;
    return {};
  }
  return {DefaultAddress()};
}

std::optional<Address> ServerOfThisProgram(bool* chosen, std::string* error) {
  const std::vector<Address> all = ServersOfThisProgram(chosen, error);
  return all.empty() ? std::nullopt : std::optional(all.front());
}

}  // namespace vesper
