// OpenSSL, opened when the first tls:// address is used and never before: the client is a guest in programs that may have no
// use for it, or a copy of their own. Everything in runtime/tls calls it through this table.
#pragma once

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <string>

namespace vesper::tls {

// clang-format off
#define VESPER_OPENSSL_CRYPTO(X) \
  X(OPENSSL_init_crypto) X(OPENSSL_cleanse) X(CRYPTO_memcmp) X(OSSL_LIB_CTX_new) \
  X(ERR_set_mark) X(ERR_pop_to_mark) X(ERR_peek_last_error) X(ERR_reason_error_string) \
  X(EVP_CIPHER_fetch) X(EVP_CIPHER_free) X(EVP_CIPHER_CTX_new) X(EVP_CIPHER_CTX_free) X(EVP_CIPHER_CTX_ctrl) \
  X(EVP_CipherInit_ex2) X(EVP_CipherUpdate) X(EVP_CipherFinal_ex) X(EVP_Q_mac) X(EVP_Q_digest) X(EVP_PKEY_free) \
  X(X509_free) X(i2d_X509) X(X509_verify_cert_error_string) X(X509_STORE_add_cert) X(X509_STORE_new) X(X509_STORE_free) X(X509_STORE_add_crl) X(X509_STORE_set_flags) X(X509_CRL_free) X(PEM_read_bio_X509_CRL) X(X509_CRL_get_issuer) X(X509_CRL_get_REVOKED) X(X509_REVOKED_get0_serialNumber) \
  X(OPENSSL_sk_num) X(OPENSSL_sk_value) X(X509_get_issuer_name) X(X509_get0_serialNumber) X(i2d_X509_NAME) X(i2d_ASN1_INTEGER) X(X509_STORE_CTX_get0_cert) X(X509_STORE_CTX_set_error) X(X509_get_subject_name) \
  X(X509_NAME_get_text_by_NID) X(X509_VERIFY_PARAM_set1_host) X(X509_VERIFY_PARAM_set1_ip_asc) X(CRYPTO_free) X(PEM_read_bio_X509) X(PEM_read_bio_PrivateKey) \
  X(BIO_new) X(BIO_free) X(BIO_new_mem_buf) X(BIO_meth_new) X(BIO_meth_set_write) X(BIO_meth_set_read) \
  X(BIO_meth_set_ctrl) X(BIO_set_data) X(BIO_get_data) X(BIO_set_init) X(BIO_set_flags) X(BIO_clear_flags)
#define VESPER_OPENSSL_SSL(X) \
  X(OPENSSL_init_ssl) X(TLS_method) X(SSL_CTX_new_ex) X(SSL_CTX_free) X(SSL_CTX_ctrl) X(SSL_CTX_set_options) \
  X(SSL_CTX_set_ciphersuites) X(SSL_CTX_set_keylog_callback) X(SSL_CTX_set_num_tickets) X(SSL_CTX_set_verify) \
  X(SSL_CTX_use_certificate) X(SSL_CTX_use_PrivateKey) X(SSL_CTX_use_certificate_chain_file) \
  X(SSL_CTX_use_PrivateKey_file) X(SSL_CTX_check_private_key) X(SSL_CTX_get_cert_store) X(SSL_CTX_set_cert_store) X(SSL_CTX_load_verify_file) \
  X(SSL_CTX_set_default_verify_paths) X(SSL_CTX_add_client_CA) X(SSL_new) X(SSL_free) X(SSL_ctrl) X(SSL_set_bio) \
  X(SSL_set_ex_data) X(SSL_get_ex_data) X(SSL_set_connect_state) X(SSL_set_accept_state) X(SSL_do_handshake) \
  X(SSL_get_error) X(SSL_get0_param) X(SSL_CTX_set_cert_verify_callback) X(SSL_get1_peer_certificate) X(SSL_get_verify_result) X(SSL_get_current_cipher) \
  X(SSL_CIPHER_get_protocol_id) X(SSL_has_pending) X(SSL_alert_desc_string_long)
// clang-format on

struct OpenSsl {
// NOLINTNEXTLINE(bugprone-macro-parentheses): it declares the name
#define VESPER_MEMBER(name) decltype(&::name) name;
  VESPER_OPENSSL_CRYPTO(VESPER_MEMBER)
  VESPER_OPENSSL_SSL(VESPER_MEMBER)
#undef VESPER_MEMBER
  OSSL_LIB_CTX* context;  // our own: what the program configures for itself does not reach us, nor its end
};

// The table, which lives as long as the process; nullptr with a sentence where there is no OpenSSL 3. Any thread.
const OpenSsl* Open(std::string* error);

// What OpenSSL says went wrong last in this thread, or `otherwise`.
std::string LastError(const OpenSsl& ssl, const char* otherwise);

// While it lives, what OpenSSL notes of errors in this thread is ours; the program's own is left as it was.
class ErrorScope {
 public:
  explicit ErrorScope(const OpenSsl& ssl) : ssl_(ssl) { ssl_.ERR_set_mark(); }
  ~ErrorScope() { ssl_.ERR_pop_to_mark(); }
  ErrorScope(const ErrorScope&) = delete;
  ErrorScope& operator=(const ErrorScope&) = delete;

 private:
  const OpenSsl& ssl_;
};

}  // namespace vesper::tls
