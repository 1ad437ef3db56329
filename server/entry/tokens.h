// The file of tokens: who may use the server, and how much of it. A line each: NAME DIGEST [sessions=N] [memory=MIB] [queued=MIB]
// [gpu=SECONDS] [idle=SECONDS]; what follows # is a comment. The server keeps no token, only the SHA-256 of each.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vesper::server {

using TokenDigest = std::array<uint8_t, 32>;

struct Token {
  std::string name;  // letters, digits, '.', '_', '-'
  TokenDigest digest{};
  uint32_t sessions = 0;                       // at the same time; 0: as many as all may
  uint32_t memory_mib = 0;                     // of one session; 0: as much as all may
  uint32_t queued_mib = 0;                     // of one session's work and answers that wait; 0: as for all
  uint32_t gpu_seconds = 0, idle_seconds = 0;  // as --max-gpu-time and --max-idle; 0: as for all
};

// A value; its owner is the door or the doorkeeper. Not changed once it is parsed.
class Tokens {
 public:
  // nullopt with a sentence that names the line.
  static std::optional<Tokens> Parse(const std::string& text, std::string* error);

  // Takes the same time for every `digest`, so that nobody learns of tokens by measuring it.
  const Token* Find(const TokenDigest& digest) const;
  const Token* Named(std::string_view name) const;
  size_t size() const { return tokens_.size(); }

  static bool IsName(std::string_view name);
  static constexpr std::string_view kNameRule = "a name has letters, digits, '.', '_' and '-', at most 40";
  // Reads 64 hexadecimal digits. False for anything else.
  static bool ReadDigest(std::string_view text, TokenDigest* digest);
  static std::string Line(const Token& token);

 private:
  std::vector<Token> tokens_;
};

}  // namespace vesper::server
