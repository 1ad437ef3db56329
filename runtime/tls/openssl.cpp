#include "runtime/tls/openssl.h"

#include <dlfcn.h>

#include <mutex>

namespace vesper::tls {
namespace {

constexpr char kSslLibrary[] = "libssl.so.3";
constexpr char kCryptoLibrary[] = "libcrypto.so.3";

// Never closed: OpenSSL leaves functions with each thread that has used it.
void* Library(const char* name, std::string* error) {
  void* library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr)
    *error = std::string("tls:// needs OpenSSL 3 (on Debian: apt install libssl3): ") + ::dlerror();
  return library;
}

template <typename Function>
bool Find(void* library, const char* name, Function* function, std::string* error) {
  *function = reinterpret_cast<Function>(::dlsym(library, name));
  if (*function == nullptr) *error = std::string("OpenSSL has no ") + name;
  return *function != nullptr;
}

bool Fill(OpenSsl* table, std::string* error) {
  void* crypto = Library(kCryptoLibrary, error);
  void* ssl = crypto == nullptr ? nullptr : Library(kSslLibrary, error);
  if (ssl == nullptr) return false;
#define VESPER_FIND_CRYPTO(name) \
  if (!Find(crypto, #name, &table->name, error)) return false;
#define VESPER_FIND_SSL(name) \
  if (!Find(ssl, #name, &table->name, error)) return false;
  VESPER_OPENSSL_CRYPTO(VESPER_FIND_CRYPTO)
  VESPER_OPENSSL_SSL(VESPER_FIND_SSL)
#undef VESPER_FIND_CRYPTO
#undef VESPER_FIND_SSL
  // The program's end is not ours to hook into, and its settings are its own. Has no effect where the program was first.
  constexpr uint64_t kOptions = OPENSSL_INIT_NO_ATEXIT | OPENSSL_INIT_NO_LOAD_CONFIG;
  if (table->OPENSSL_init_crypto(kOptions, nullptr) == 1 && table->OPENSSL_init_ssl(kOptions, nullptr) == 1) {
    table->context = table->OSSL_LIB_CTX_new();
  }
  if (table->context == nullptr) *error = "OpenSSL cannot be used";
  return table->context != nullptr;
}

}  // namespace

const OpenSsl* Open(std::string* error) {
  static constinit std::mutex mutex;
  static constinit OpenSsl table{};
  static constinit bool filled = false;
  const std::lock_guard lock(mutex);
  if (!filled) filled = Fill(&table, error);
  return filled ? &table : nullptr;
}

std::string LastError(const OpenSsl& ssl, const char* otherwise) {
  const unsigned long code = ssl.ERR_peek_last_error();
  const char* reason = code == 0 ? nullptr : ssl.ERR_reason_error_string(code);
  return reason == nullptr ? otherwise : reason;
}

}  // namespace vesper::tls
