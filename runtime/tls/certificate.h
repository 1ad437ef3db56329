// Keys and certificates for servers, and tokens. Links OpenSSL, unlike the rest of runtime/tls; never part of the client.
#pragma once

#include <string>
#include <vector>

namespace vesper::tls {

struct KeyPair {
  std::string key;          // PEM
  std::string certificate;  // PEM
};

// A new P-256 key and a certificate for `host`, signed by `authority` or, without one, by itself. Ten years. `is_authority`:
// it may sign others. Empty texts and a sentence on failure.
KeyPair MakeKeyPair(const std::string& host, const KeyPair* authority, bool is_authority, std::string* error);

// The authority's list (PEM) of these of its certificates, valid for `seconds` from now. Empty, with a sentence, on failure.
std::string MakeRevocationList(const KeyPair& authority, const std::vector<std::string>& certificates, long seconds,
                               std::string* error);

// 256 random bits, in base64url; empty on failure.
std::string MakeToken();
// What a server keeps of a token: its SHA-256 in hexadecimal digits.
std::string DigestOf(const std::string& token);

}  // namespace vesper::tls
