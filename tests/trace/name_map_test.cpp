// Files that map an engine's names: what they say, and what they may not say.
#include "trace/name_map.h"

#include <gmock/gmock.h>

namespace assay::trace {
namespace {

using ::testing::HasSubstr;

NameMap parsed(const std::string& text) {
  auto map = NameMap::parse(text, "x.yaml");
  EXPECT_TRUE(map) << map.error().message;
  return map ? *map : NameMap();
}

std::string refusal(const std::string& text) {
  const auto map = NameMap::parse(text, "x.yaml");
  return map ? "accepted" : map.error().message;
}

std::string canonical(const NameMap& map, std::string_view name) {
  const auto found = map.find(name);
  return found ? found->canonical : "none";
}

TEST(NameMap, ANumberStandsForTheLayer) {
  const NameMap map = parsed(
      "model.norm: out_norm\n"
      "model.layers.{n}.q: blk.{n}.q halves   # a comment\n"
      "h{n}: blk.{n}.out\n");
  EXPECT_EQ(canonical(map, "model.norm"), "out_norm");
  EXPECT_EQ(canonical(map, "model.layers.12.q"), "blk.12.q");
  EXPECT_TRUE(map.find("model.layers.12.q")->halves);
  EXPECT_EQ(canonical(map, "h07"), "blk.07.out");
  EXPECT_FALSE(map.find("h7")->halves);
  for (const char* other : {"model.layers..q", "model.layers.a.q", "model.layers.1.k",
                            "model.layers.1.q.x", "h", "norm"})
    EXPECT_EQ(canonical(map, other), "none") << other;
}

TEST(NameMap, AWholeNameCountsBeforeAPattern) {
  const NameMap map = parsed("l.{n}: blk.{n}.out\nl.3: out_norm\n");
  EXPECT_EQ(canonical(map, "l.3"), "out_norm");
  EXPECT_EQ(canonical(map, "l.4"), "blk.4.out");
}

TEST(NameMap, NothingMeansKnownAndNotJudged) {
  const NameMap map = parsed("cos.{n}: ~\nsin:\n");
  ASSERT_TRUE(map.find("cos.1"));
  EXPECT_EQ(map.find("cos.1")->canonical, "");
  EXPECT_EQ(canonical(map, "sin"), "");
}

TEST(NameMap, JsonIsRead) {
  EXPECT_EQ(canonical(parsed(R"({"a b.{n}": "blk.{n}.q", "c": null})"), "a b.5"), "blk.5.q");
}

TEST(NameMap, AsTheyAreKeepsEveryName) {
  EXPECT_EQ(canonical(NameMap::as_they_are(), "anything at all"), "anything at all");
  EXPECT_FALSE(NameMap::as_they_are().empty());
  EXPECT_TRUE(NameMap().empty());
  EXPECT_EQ(canonical(NameMap(), "embd"), "none");
}

TEST(NameMap, WhatIsNoMapIsRefused) {
  EXPECT_THAT(refusal("- a\n- b\n"), HasSubstr("no map of names"));
  EXPECT_THAT(refusal(""), HasSubstr("no map of names"));
  EXPECT_THAT(refusal("a: [b]\n"), HasSubstr("line 1: this is no pair of names"));
  EXPECT_THAT(refusal("x: embd\n? [a]\n: b\n"), HasSubstr("line 2: this is no pair of names"));
  EXPECT_THAT(refusal("a: b: c\n"), HasSubstr("not YAML"));
  EXPECT_THAT(refusal("a: embd\na: logits\n"), HasSubstr("'a' stands there twice"));
  EXPECT_THAT(refusal("l.{n}: blk.{n}.q\nl.{n}: blk.{n}.k\n"),
              HasSubstr("'l.{n}' stands there twice"));
  EXPECT_THAT(refusal("a: blk.{n}.q\n"), HasSubstr("'a' has no {n}"));
  EXPECT_THAT(refusal("a.{n}: embd\n"), HasSubstr("'embd' has no {n}"));
  EXPECT_THAT(refusal("a: b c\n"), HasSubstr("'b c' is no name"));
  EXPECT_THAT(refusal(std::string(2 << 20, ' ')), HasSubstr("at most 1 MiB"));
  std::string many;
  for (int i = 0; i < 10001; ++i) many += "a" + std::to_string(i) + ": embd\n";
  EXPECT_THAT(refusal(many), HasSubstr("at most 10000"));
  EXPECT_THAT(refusal(std::string(100000, '[')), HasSubstr("x.yaml: "));  // as deep as it likes
}

}  // namespace
}  // namespace assay::trace
