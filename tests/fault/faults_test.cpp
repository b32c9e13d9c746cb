// Names, texts and draws of the faults.
#include "fault/faults.h"

#include <gtest/gtest.h>

#include <set>

#include "fault/harness.h"
#include "fault/seeded.h"

namespace assay::fault {
namespace {

TEST(Faults, NamesAreKebabCaseAndUnique) {
  std::set<std::string_view> seen;
  const auto kebab = [](std::string_view name) {
    return name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == name.npos &&
           name.find("--") == name.npos && !name.starts_with('-') && !name.ends_with('-');
  };
  for (const std::string_view name : names()) {
    EXPECT_TRUE(kebab(name)) << name;
    EXPECT_TRUE(seen.insert(name).second) << name << " twice";
  }
}

TEST(Faults, EveryRowThatAnExecutorCanHaveIsThere) {
  std::set<int> rows;
  for (const std::string_view name : names()) rows.insert(parse_fault(name)->row);
  // 1, 25, 27, 29 and 30 are not an operation's: inputs, races, a compiler, an argmax, a sampler.
  std::set<int> wanted{0, 26, 28, 31, 32, 33, 34, 35};
  for (int row = 2; row <= 24; ++row) wanted.insert(row);
  EXPECT_EQ(rows, wanted);
}

TEST(Faults, EveryBugHasItsOwnName) {
  std::set<Bug> bugs;
  for (const std::string_view name : names()) {
    const auto fault = parse_fault(name);
    ASSERT_TRUE(fault) << name;
    EXPECT_NE(fault->bug, Bug::none) << name;
    EXPECT_TRUE(bugs.insert(fault->bug).second) << name;
    EXPECT_FALSE(fault->expected_cause().empty());
  }
  EXPECT_EQ(bugs.size(), size_t(Bug::unlisted_backwards));  // the last
}

TEST(Faults, TextIsReadBack) {
  for (const std::string_view name : names())
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const Fault fault = seeded(name, seed, kjv().program, 1).fault;
      const auto read = parse_fault(fault.text());
      ASSERT_TRUE(read) << read.error().message;
      EXPECT_EQ(read->text(), fault.text());
      EXPECT_EQ(read->value, fault.value) << fault.text();
      EXPECT_EQ(read->layer, fault.layer);
      EXPECT_EQ(read->at, fault.at);
    }
  const auto base = parse_fault("rope-base:base=20000,layer=3");
  ASSERT_TRUE(base);
  EXPECT_EQ(base->value, 20000.0);
  EXPECT_EQ(base->layer, 3u);
  EXPECT_EQ(base->text(), "rope-base:base=20000,layer=3");
  EXPECT_EQ(base->expected_operation(kjv().program), "blk.3.q_rope");
}

TEST(Faults, WrongTextsAreRefused) {
  for (const char* text :
       {"", "rope", "rope-base:", "rope-base:base", "rope-base:base=", "rope-base:base=x",
        "rope-base:base=nan", "rope-base:base=-1", "rope-base:base=0", "rope-base:base=1e300",
        "rope-base:tail=3", "rope-base:=3", "rope-base:layer=-1", "rope-base:layer=x",
        "token-tail:tile=0.5", "token-tail:tile=1e6", "mask-missing:value=1"}) {
    const auto fault = parse_fault(text);
    if (std::string(text) == "rope-base:")
      EXPECT_TRUE(fault);  // no parameters after the colon
    else
      EXPECT_FALSE(fault) << text;
  }
  const auto unknown = parse_fault("rope-bass");
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("'rope-bass'"), std::string::npos);
  EXPECT_NE(unknown.error().message.find("rope-base"), std::string::npos);
}

TEST(Faults, ADrawIsItsSeeds) {
  std::set<std::string> different;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const auto once = draw("k-tail", seed, kjv().program),
               again = draw("k-tail", seed, kjv().program);
    ASSERT_TRUE(once && again);
    EXPECT_EQ(once->text(), again->text());
    different.insert(once->text());
  }
  EXPECT_GT(different.size(), 10u);
}

TEST(Faults, AModelWithoutTheFormatCannotHaveTheFault) {
  const tests::TinyModel model(tests::Shape{});  // Q8_0
  for (const char* name : {"scale-high-bits", "minimum-ignored", "nibbles-swapped", "q6k-order"}) {
    const auto fault = draw(name, 1, model.program);
    ASSERT_FALSE(fault) << name;
    EXPECT_NE(fault.error().message.find(name), std::string::npos);
    EXPECT_EQ(parse_fault(name)->expected_operation(model.program), "");
  }
}

TEST(Faults, ExpectedOperationIsTheFirstInTheProgram) {
  const op::Program& program = kjv().program;
  const auto first = [&](const char* text) {
    return parse_fault(text)->expected_operation(program);
  };
  EXPECT_EQ(first("rope-pairing"), "blk.0.q_rope");
  EXPECT_EQ(first("norm-eps"), "blk.0.attn_norm");
  EXPECT_EQ(first("scale-high-bits"), "blk.0.v");  // Q2_K, Q3_K, then Q5_K
  EXPECT_EQ(first("q6k-order"), "blk.2.v");
  EXPECT_EQ(first("weight-tied-head"), "logits");
  EXPECT_EQ(first("kv-slot:layer=2"), "blk.2.kqv");
  EXPECT_EQ(first("residual-parallel"), "blk.0.out");
  EXPECT_EQ(first("k-tail:at=blk.3.down"), "blk.3.down");
  EXPECT_EQ(first("rope-base:at=blk.3.down"), "");
}

}  // namespace
}  // namespace assay::fault
