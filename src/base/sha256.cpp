#include "base/sha256.h"

#include <openssl/evp.h>

#include <array>
#include <stdexcept>

namespace assay {
namespace {

// OpenSSL refuses only when memory is gone or the machine's policy forbids SHA-256: nothing that a
// caller can mend.
void must(int success) {
  if (success != 1) throw std::runtime_error("OpenSSL can't compute SHA-256 on this machine");
}

}  // namespace

void Sha256::Free::operator()(evp_md_ctx_st* context) const {
  EVP_MD_CTX_free(context);
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  must(context_ != nullptr ? EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) : 0);
}

void Sha256::update(std::span<const uint8_t> bytes) {
  must(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()));
}

std::string Sha256::hex() {
  std::string digits = so_far();
  must(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr));
  return digits;
}

std::string Sha256::so_far() const {
  const Sha256 copy;
  must(EVP_MD_CTX_copy_ex(copy.context_.get(), context_.get()));
  std::array<uint8_t, 32> digest;
  must(EVP_DigestFinal_ex(copy.context_.get(), digest.data(), nullptr));
  std::string text;
  for (const uint8_t byte : digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

std::string sha256_hex(std::span<const uint8_t> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex();
}

}  // namespace assay
