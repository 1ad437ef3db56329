#include "runtime/tls/certificate.h"

#include <arpa/inet.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <array>
#include <cstdint>
#include <memory>

namespace vesper::tls {
namespace {

constexpr long kTenYears = 3650L * 24 * 3600;

template <auto Function>
struct Free {
  template <typename Type>
  void operator()(Type* object) const {
    Function(object);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Text = std::unique_ptr<BIO, Free<BIO_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>>;

std::string Contents(BIO* text) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(text, &data);
  return {data, static_cast<size_t>(size)};
}

bool Extend(X509* certificate, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

std::string AlternativeName(const std::string& host) {
  std::array<uint8_t, sizeof(in6_addr)> address;
  const bool is_address =
      inet_pton(AF_INET, host.c_str(), address.data()) == 1 || inet_pton(AF_INET6, host.c_str(), address.data()) == 1;
  return (is_address ? "IP:" : "DNS:") + host;
}

bool Describe(X509* certificate, X509* issuer, EVP_PKEY* key, const std::string& host, bool is_authority) {
  std::array<uint8_t, 16> serial;
  if (RAND_bytes(serial.data(), static_cast<int>(serial.size())) != 1) return false;
  serial[0] &= 0x7f;
  BIGNUM* number = BN_bin2bn(serial.data(), static_cast<int>(serial.size()), nullptr);
  const bool numbered = number != nullptr && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nullptr;
  BN_free(number);
  X509_NAME* subject = X509_get_subject_name(certificate);
  const auto* name = reinterpret_cast<const unsigned char*>(host.c_str());
  return numbered && X509_set_version(certificate, X509_VERSION_3) == 1 &&
         X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) != nullptr &&
         X509_gmtime_adj(X509_getm_notAfter(certificate), kTenYears) != nullptr &&
         X509_set_pubkey(certificate, key) == 1 &&
         X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, name, -1, -1, 0) == 1 &&
         X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1 &&
         Extend(certificate, issuer, NID_basic_constraints, is_authority ? "critical,CA:TRUE" : "critical,CA:FALSE") &&
         Extend(certificate, issuer, NID_key_usage,
                is_authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature") &&
         (is_authority || Extend(certificate, issuer, NID_subject_alt_name, AlternativeName(host)));
}

}  // namespace

KeyPair MakeKeyPair(const std::string& host, const KeyPair* authority, bool is_authority, std::string* error) {
  *error = "OpenSSL cannot make a key and certificate for \"" + host + "\"";
  const Key key(EVP_EC_gen("P-256"));
  const Certificate certificate(X509_new());
  if (key == nullptr || certificate == nullptr) return {};
  Certificate issuer;
  Key signer;
  if (authority != nullptr) {
    const Text issuer_text(
        BIO_new_mem_buf(authority->certificate.data(), static_cast<int>(authority->certificate.size())));
    const Text key_text(BIO_new_mem_buf(authority->key.data(), static_cast<int>(authority->key.size())));
    issuer.reset(PEM_read_bio_X509(issuer_text.get(), nullptr, nullptr, nullptr));
    signer.reset(PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr));
    if (issuer == nullptr || signer == nullptr) return {};
  }
  const bool signs_itself = issuer == nullptr;
  if (!Describe(certificate.get(), signs_itself ? certificate.get() : issuer.get(), key.get(), host, is_authority) ||
      X509_sign(certificate.get(), signs_itself ? key.get() : signer.get(), EVP_sha256()) == 0) {
    return {};
  }
  const Text key_text(BIO_new(BIO_s_mem())), text(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1 ||
      PEM_write_bio_X509(text.get(), certificate.get()) != 1) {
    return {};
  }
  error->clear();
  return {Contents(key_text.get()), Contents(text.get())};
}

std::string MakeRevocationList(const KeyPair& authority, const std::vector<std::string>& certificates, long seconds,
                               std::string* error) {
  *error = "OpenSSL cannot make a revocation list";
  const auto read = [](const std::string& pem) {
    const Text text(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    return Certificate(PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr));
  };
  const Certificate issuer = read(authority.certificate);
  const Text key_text(BIO_new_mem_buf(authority.key.data(), static_cast<int>(authority.key.size())));
  const Key key(PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr));
  const std::unique_ptr<X509_CRL, Free<X509_CRL_free>> list(X509_CRL_new());
  const std::unique_ptr<ASN1_TIME, Free<ASN1_TIME_free>> now(X509_gmtime_adj(nullptr, -3600)),
      then(X509_gmtime_adj(nullptr, seconds));
  if (issuer == nullptr || key == nullptr || list == nullptr || now == nullptr || then == nullptr) return {};
  if (X509_CRL_set_version(list.get(), X509_CRL_VERSION_2) != 1 ||
      X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(issuer.get())) != 1 ||
      X509_CRL_set1_lastUpdate(list.get(), now.get()) != 1 || X509_CRL_set1_nextUpdate(list.get(), then.get()) != 1) {
    return {};
  }
  for (const std::string& pem : certificates) {
    const Certificate certificate = read(pem);
    X509_REVOKED* entry = X509_REVOKED_new();
    if (certificate == nullptr || entry == nullptr ||
        X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(certificate.get())) != 1 ||
        X509_REVOKED_set_revocationDate(entry, now.get()) != 1 || X509_CRL_add0_revoked(list.get(), entry) != 1) {
      X509_REVOKED_free(entry);
      return {};
    }
  }
  const Text text(BIO_new(BIO_s_mem()));
  if (X509_CRL_sort(list.get()) != 1 || X509_CRL_sign(list.get(), key.get(), EVP_sha256()) == 0 ||
      PEM_write_bio_X509_CRL(text.get(), list.get()) != 1) {
    return {};
  }
  error->clear();
  return Contents(text.get());
}

std::string MakeToken() {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::array<uint8_t, 33> bytes{};  // the last is no part of it
  if (RAND_priv_bytes(bytes.data(), 32) != 1) return {};
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const uint32_t three = uint32_t{bytes[i]} << 16 | uint32_t{bytes[i + 1]} << 8 | bytes[i + 2];
    for (uint32_t shift = 18; shift <= 18; shift -= 6) text += kDigits[three >> shift & 63];
  }
  text.pop_back();  // 43 digits hold 256 bits
  return text;
}

std::string DigestOf(const std::string& token) {
  std::array<uint8_t, 32> digest{};
  size_t size = 0;
  if (EVP_Q_digest(nullptr, "SHA256", nullptr, token.data(), token.size(), digest.data(), &size) != 1) return {};
  std::string text;
  for (const uint8_t byte : digest) {
    constexpr char kDigits[] = "0123456789abcdef";
    text += {kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return text;
}

}  // namespace vesper::tls
