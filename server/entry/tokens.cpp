#include "server/entry/tokens.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <sstream>

#include "server/base/limits.h"

namespace vesper::server {
namespace {

bool ReadLimit(std::string_view word, std::string_view name, uint32_t* limit) {
  if (!word.starts_with(name)) return false;
  word.remove_prefix(name.size());
  return !word.empty() &&
         std::from_chars(word.data(), word.data() + word.size(), *limit).ptr == word.data() + word.size();
}

// What is wrong with the line, or empty.
std::string ReadLine(std::istringstream words, Token* token) {
  std::string digest, word;
  words >> token->name >> digest;
  if (!Tokens::IsName(token->name)) return std::string(Tokens::kNameRule);
  if (!Tokens::ReadDigest(digest, &token->digest)) return "the name must be followed by 64 hexadecimal digits";
  while (words >> word) {
    if (!ReadLimit(word, "sessions=", &token->sessions) && !ReadLimit(word, "memory=", &token->memory_mib) &&
        !ReadLimit(word, "queued=", &token->queued_mib) && !ReadLimit(word, "gpu=", &token->gpu_seconds) &&
        !ReadLimit(word, "idle=", &token->idle_seconds)) {
      return fmt::format("\"{}\" is no limit: sessions=N, memory=MIB, queued=MIB, gpu=SECONDS or idle=SECONDS", word);
    }
  }
  return {};
}

}  // namespace

bool Tokens::IsName(std::string_view name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  };
  return !name.empty() && name.size() <= limits::kMaxTokenName && std::all_of(name.begin(), name.end(), fits);
}

bool Tokens::ReadDigest(std::string_view text, TokenDigest* digest) {
  if (text.size() != 2 * digest->size()) return false;
  for (size_t i = 0; i < digest->size(); ++i) {
    const char* begin = &text[2 * i];
    if (std::from_chars(begin, begin + 2, (*digest)[i], 16).ptr != begin + 2) return false;
  }
  return true;
}

std::optional<Tokens> Tokens::Parse(const std::string& text, std::string* error) {
  Tokens tokens;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    line.resize(std::min(line.find('#'), line.size()));
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    Token token;
    std::string why = ReadLine(std::istringstream(line), &token);
    if (why.empty() && tokens.Named(token.name) != nullptr) why = "there is a token of that name already";
    if (why.empty() && tokens.size() == limits::kMaxTokens) why = "there are too many tokens";
    if (!why.empty()) {
      *error = fmt::format("line {}: {}", number, why);
      return std::nullopt;
    }
    tokens.tokens_.push_back(std::move(token));
  }
  return tokens;
}

const Token* Tokens::Find(const TokenDigest& digest) const {
  const Token* found = nullptr;
  for (const Token& token : tokens_) {
    uint8_t different = 0;
    for (size_t i = 0; i < digest.size(); ++i)
      different = static_cast<uint8_t>(different | (digest[i] ^ token.digest[i]));
    const volatile uint8_t seen = different;  // keeps the compiler from leaving the loop early
    found = seen == 0 ? &token : found;
  }
  return found;
}

const Token* Tokens::Named(std::string_view name) const {
  const auto found = std::find_if(tokens_.begin(), tokens_.end(), [&](const Token& t) { return t.name == name; });
  return found == tokens_.end() ? nullptr : &*found;
}

std::string Tokens::Line(const Token& token) {
  std::string line = token.name + " ";
  for (const uint8_t byte : token.digest) line += fmt::format("{:02x}", byte);
  if (token.sessions != 0) line += fmt::format(" sessions={}", token.sessions);
  if (token.memory_mib != 0) line += fmt::format(" memory={}", token.memory_mib);
  if (token.queued_mib != 0) line += fmt::format(" queued={}", token.queued_mib);
  if (token.gpu_seconds != 0) line += fmt::format(" gpu={}", token.gpu_seconds);
  if (token.idle_seconds != 0) line += fmt::format(" idle={}", token.idle_seconds);
  return line + "\n";
}

}  // namespace vesper::server
