#include "base/sha256.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace assay {
namespace {

std::span<const uint8_t> bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// FIPS 180-4 example values (NIST "SHA256.pdf": one block, two blocks) and the NIST CAVP vector of
// length 0.
TEST(Sha256, GivesTheFipsValues) {
  EXPECT_EQ(sha256_hex(bytes("")),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex(bytes("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(bytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

// FIPS 180-2, appendix B.3: a million times "a", here in pieces that don't match the 64-byte
// blocks.
TEST(Sha256, IsTheSameInPieces) {
  const std::string piece(1000, 'a');
  Sha256 hash;
  for (int i = 0; i < 1000; ++i) hash.update(bytes(piece));
  EXPECT_EQ(hash.hex(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, GoesOnAfterSoFar) {
  Sha256 hash;
  hash.update(bytes("a"));
  EXPECT_EQ(hash.so_far(), sha256_hex(bytes("a")));
  hash.update(bytes("bc"));
  EXPECT_EQ(hash.so_far(), sha256_hex(bytes("abc")));
  EXPECT_EQ(hash.hex(), sha256_hex(bytes("abc")));
}

TEST(Sha256, BeginsAnewAfterHex) {
  Sha256 hash;
  hash.update(bytes("something else"));
  (void)hash.hex();
  hash.update(bytes("abc"));
  EXPECT_EQ(hash.hex(), sha256_hex(bytes("abc")));
}

}  // namespace
}  // namespace assay
