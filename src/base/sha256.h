// SHA-256 (FIPS 180-4), by OpenSSL.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

struct evp_md_ctx_st;

namespace assay {

class Sha256 {
 public:
  Sha256();
  void update(std::span<const uint8_t> bytes);
  /// 64 lower-case hex digits. Ends the hash: afterwards the object is as new.
  std::string hex();
  /// The digits of what was hashed so far; the hash goes on.
  std::string so_far() const;

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

std::string sha256_hex(std::span<const uint8_t> bytes);

}  // namespace assay
