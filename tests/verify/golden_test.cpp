// Goldens: what is written is read, damage is refused, a departure is named.
#include "verify/golden.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace assay::verify {
namespace {

using ::testing::HasSubstr;

Golden small() {
  const std::string a(16, 'a'), b(16, 'b');
  GoldenCase one{{1, 2, 3}, {{2, {a, b}}, {1, {b, a}}}, std::string(64, '0')};
  return {"assay/1", "m.gguf", std::string(64, '1'), "a test", {"embd", "logits"}, {one}};
}

TEST(Golden, IsReadAsItWasWritten) {
  const auto read = parse_golden(to_json(small()), "g");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(to_json(*read), to_json(small()));
}

TEST(Golden, DamageIsRefused) {
  const std::string text = to_json(small());
  const auto refused = [](std::string damaged, const char* reason) {
    const auto read = parse_golden(damaged, "g");
    ASSERT_FALSE(read) << reason;
    EXPECT_THAT(read.error().message, HasSubstr(reason));
  };
  const auto with = [&](const std::string& old, const std::string& now) {
    std::string damaged = text;
    return damaged.replace(damaged.find(old), old.size(), now);
  };
  refused("{", "not JSON");
  refused("[]", "missing or of another type");
  refused(with("assay.golden/1", "assay.golden/9"), "its schema is not assay.golden/1");
  refused(with(std::string(16, 'a'), "A"), "not 16 hex digits");
  refused(with(std::string(64, '0'), "0"), "not 64 hex digits");
  refused(with("\"tokens\": 2", "\"tokens\": 5"), "do not add up");
  refused(with("\"tokens\": 2", "\"tokens\": 0"), "without tokens");
  refused(with("\"embd\",", ""), "not have one hash per operation");
  refused(with("\"contract\": \"assay/1\"", "\"contract\": 1"), "of another type");
}

TEST(Golden, TheFirstDepartureIsNamed) {
  const Golden stored = small();
  GoldenCase now = stored.cases[0];
  EXPECT_FALSE(first_departure(stored.operations, stored.cases[0], now));
  now.steps[1].hashes[0][3] = 'c';
  now.steps[1].hashes[1][3] = 'c';
  const auto found = first_departure(stored.operations, stored.cases[0], now);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->step, 1u);
  EXPECT_EQ(found->operation, "embd");
  now = stored.cases[0];
  now.logits_sha256[0] = '7';
  ASSERT_TRUE(first_departure(stored.operations, stored.cases[0], now));
}

}  // namespace
}  // namespace assay::verify
