// Each change of a tensor, on small numbers that show which value went where.
#include "convert/rows.h"

#include <gmock/gmock.h>

#include <cstring>
#include <limits>

#include "convert/hub_folder.h"

namespace assay::convert {
namespace {

using model::Change;
using ::testing::HasSubstr;

/// One stored tensor whose values count from 0.
struct Counting {
  std::vector<uint8_t> bytes;
  trace::StoredTensor stored;

  explicit Counting(std::vector<uint64_t> shape, float first = 0,
                    const std::string& dtype = "F32") {
    uint64_t count = 1;
    for (const uint64_t dimension : shape) count *= dimension;
    tests::HubTensor tensor{shape, std::vector<float>(count), dtype};
    for (uint64_t i = 0; i < count; ++i) tensor.values[i] = first + float(i);
    bytes = tensor.bytes();
    stored = {"source.weight", dtype, shape, count, bytes};
  }
};

std::vector<float> result_of(const Target& target, const Heads& heads = {}) {
  const auto encoded = encode(target, quant::F32::id, heads);
  if (!encoded) {
    ADD_FAILURE() << encoded.error().message;
    return {};
  }
  std::vector<float> values(encoded->size() / 4);
  std::memcpy(values.data(), encoded->data(), encoded->size());
  return values;
}

std::vector<float> changed(std::vector<uint64_t> shape, Change change, const Heads& heads = {},
                           const std::string& name = "x.weight") {
  const Counting source(std::move(shape));
  return result_of({name, change, false, {&source.stored}, {}, {}}, heads);
}

using Values = std::vector<float>;

TEST(Rows, HalvesOfTheRowsOfEachExpert) {
  EXPECT_EQ(changed({4, 2}, model::first_half), (Values{0, 1, 2, 3}));
  EXPECT_EQ(changed({4, 2}, model::second_half), (Values{4, 5, 6, 7}));
  EXPECT_EQ(changed({2, 2, 3}, model::second_half), (Values{3, 4, 5, 9, 10, 11}));
}

TEST(Rows, EvenAndOddRows) {
  EXPECT_EQ(changed({4, 2}, model::even_rows), (Values{0, 1, 4, 5}));
  EXPECT_EQ(changed({4, 2}, model::odd_rows), (Values{2, 3, 6, 7}));
  // A bias has a value for each row, of each expert.
  EXPECT_EQ(changed({2, 4}, model::odd_rows, {}, "x.bias"), (Values{1, 3, 5, 7}));
}

TEST(Rows, TransposedBeforeEverythingElse) {
  EXPECT_EQ(changed({2, 3}, model::transposed), (Values{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(changed({2, 4}, model::transposed | model::even_rows), (Values{0, 4, 2, 6}));
  EXPECT_EQ(changed({2, 2, 2}, model::transposed), (Values{0, 2, 1, 3, 4, 6, 5, 7}));
}

TEST(Rows, PackedGroupsBecomeBlocks) {
  // Two rows of one group; value i of a row is i mod 16, two of them in a byte.
  std::vector<uint8_t> bytes;
  for (int row = 0; row < 2; ++row)
    for (int j = 0; j < 16; ++j) bytes.push_back(uint8_t((2 * j) % 16 | (2 * j + 1) % 16 << 4));
  const std::vector<uint8_t> scales = {130, 7};
  const trace::StoredTensor stored{"x", "MXFP4", {2, 32}, 64, bytes};
  for (const bool odd : {false, true}) {
    const auto block = encode(
        {"x.weight", odd ? model::odd_rows : model::even_rows, false, {&stored}, {1, 32}, {scales}},
        *own_type(stored), {});
    ASSERT_TRUE(block) << block.error().message;
    ASSERT_EQ(block->size(), 17u);
    EXPECT_EQ((*block)[0], odd ? 7 : 130);
    // Byte j holds values j and j + 16, which are equal.
    for (int j = 0; j < 16; ++j) EXPECT_EQ((*block)[1 + j], j * 17) << j;
  }
}

TEST(Rows, PairsWithinTheTurnedPartOfEachHead) {
  // Two heads of six rows, of which RoPE turns four: pairs (0, 2), (1, 3); rows 4 and 5 stay.
  EXPECT_EQ(changed({12}, model::pair_rows, {2, 2, 6, 4}, "x.bias"),
            (Values{0, 2, 1, 3, 4, 5, 6, 8, 7, 9, 10, 11}));
  EXPECT_EQ(changed({4, 2}, model::pair_rows, {1, 1, 4, 4}), (Values{0, 1, 4, 5, 2, 3, 6, 7}));
}

TEST(Rows, GroupsApart) {
  // Four queries on two keys, heads of one row: q q k v, q q k v.
  EXPECT_EQ(changed({8, 1}, model::groups_apart, {4, 2, 1, 1}), (Values{0, 1, 4, 5, 2, 6, 3, 7}));
  // Heads of two rows, one query for each key: q k v, q k v.
  EXPECT_EQ(changed({12}, model::groups_apart, {2, 2, 2, 2}, "x.bias"),
            (Values{0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11}));
}

TEST(Rows, OneIsAddedInF32) {
  EXPECT_EQ(changed({3}, model::plus_one), (Values{1, 2, 3}));
  const Counting half({2}, 0.25f, "BF16");
  EXPECT_EQ(result_of({"x.weight", model::plus_one, false, {&half.stored}, {}}),
            (Values{1.25f, 2.25f}));
}

TEST(Rows, SourcesAreStacked) {
  const Counting first({2, 2}), second({2, 2}, 10);
  EXPECT_EQ(result_of({"x.weight", model::even_rows, true, {&first.stored, &second.stored}, {}}),
            (Values{0, 1, 10, 11}));
}

TEST(Rows, F64IsRoundedOnce) {
  const double values[] = {0.1, 1e-3};
  trace::StoredTensor stored{"x", "F64", {2}, 2, {reinterpret_cast<const uint8_t*>(values), 16}};
  EXPECT_EQ(result_of({"x.weight", model::unchanged, false, {&stored}, {}}), (Values{0.1f, 1e-3f}));
  EXPECT_EQ(*own_type(stored), quant::F32::id);
}

TEST(Rows, ValuesThatAFormatCannotHoldAreNamed) {
  Counting source({1, 32}, 70000);
  const Target target{"blk.0.x.weight", model::unchanged, false, {&source.stored}, {}};
  const auto half = encode(target, quant::F16::id, {});
  ASSERT_FALSE(half);
  EXPECT_THAT(half.error().message, HasSubstr("\"blk.0.x.weight\" holds 70031, which F16 cannot"));
  EXPECT_TRUE(encode(target, quant::BF16::id, {}));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(source.bytes.data() + 4, &nan, 4);
  const auto block = encode(target, quant::Q8_0::id, {});
  ASSERT_FALSE(block);
  EXPECT_THAT(block.error().message, HasSubstr("holds nan"));
}

TEST(Rows, OtherTypesAreNamed) {
  const trace::StoredTensor stored{"w", "F8_E4M3", {1}, 1, {}};
  EXPECT_THAT(own_type(stored).error().message, HasSubstr("\"w\" is of type F8_E4M3"));
}

TEST(Names, PatternsWithNumbers) {
  std::vector<uint64_t> numbers;
  EXPECT_TRUE(fits("a.{}.b.{}.c", "a.12.b.0.c", numbers));
  EXPECT_THAT(numbers, ::testing::ElementsAre(12, 0));
  EXPECT_TRUE(fits("plain", "plain", numbers));
  EXPECT_THAT(numbers, ::testing::IsEmpty());
  for (const char* name : {"a..b.0.c", "a.x.b.0.c", "a.01.b.0.c", "a.1.b.0.c.d", "a.-1.b.0.c",
                           "a.12345678901.b.0.c", "xa.1.b.0.c", ""})
    EXPECT_FALSE(fits("a.{}.b.{}.c", name, numbers)) << name;
}

/// Targets of these tensors for an architecture with such rows; config of two blocks, two heads.
struct Mapped {
  std::vector<Counting> held;
  std::map<std::string, trace::StoredTensor> tensors;

  void add(const std::string& name, std::vector<uint64_t> shape, const std::string& dtype = "F32") {
    held.emplace_back(std::move(shape), 0.0f, dtype);
    tensors[name] = held.back().stored;
    tensors[name].name = name;
  }
  Result<std::vector<Target>> find(std::span<const model::TensorRow> rows,
                                   std::string_view unread = {}) const {
    auto config = model::Config::parse(R"({"num_hidden_layers": 2, "num_attention_heads": 2,
      "hidden_size": 8, "drafts": 1})",
                                       "config.json");
    const Heads heads = heads_of(*config);
    model::Architecture architecture{.name = "test"};
    architecture.conversion.tensors = rows;
    architecture.conversion.unread_blocks = unread;
    return find_targets(tensors, architecture, *config, heads);
  }
  std::string refusal(std::span<const model::TensorRow> rows) const {
    const auto found = find(rows);
    return found ? "accepted" : found.error().message;
  }
};

constexpr model::TensorRow rows[] = {{"blk.{}.up.weight", "l.{}.both", model::first_half},
                                     {"blk.{}.down.weight", "l.{}.both", model::second_half},
                                     {"blk.{}.exps", "l.{}.e.{}.w"},
                                     {"blk.{}.q", "l.{}.q", model::pair_rows},
                                     {"blk.{}.t.weight", "l.{}.t", model::transposed},
                                     {"blk.{}.f.weight", "l.{}.f", model::groups_apart},
                                     {"blk.{}.one.weight", "l.{}.one"},
                                     {"blk.{}.one.weight", "l.{}.other"},
                                     {"", "l.{}.left_out"}};

TEST(Names, OneSourceMayBecomeTwoTensorsAndManyOne) {
  Mapped mapped;
  mapped.add("l.1.both", {6, 2});
  for (const char* name : {"l.0.e.1.w.weight", "l.0.e.0.w.weight", "l.0.e.2.w.weight"})
    mapped.add(name, {3, 2});
  mapped.add("l.0.left_out", {1});
  mapped.add("lm_head.weight", {5, 2});
  mapped.add("model.embed_tokens.weight", {5, 2});
  const auto found = mapped.find(rows);
  ASSERT_TRUE(found) << found.error().message;
  std::vector<std::string> names;
  for (const Target& target : *found) names.push_back(target.name);
  EXPECT_THAT(names,
              ::testing::ElementsAre("token_embd.weight", "blk.0.exps.weight", "blk.1.down.weight",
                                     "blk.1.up.weight", "output.weight"));
  EXPECT_EQ((*found)[1].shape, (std::vector<uint64_t>{3, 3, 2}));
  EXPECT_EQ((*found)[1].sources[1], &mapped.tensors["l.0.e.1.w.weight"]);
  EXPECT_EQ((*found)[2].shape, (std::vector<uint64_t>{3, 2}));
}

TEST(Names, WhatHasNoPlaceIsNamed) {
  const auto refusal = [](const std::string& name, std::vector<uint64_t> shape) {
    Mapped mapped;
    mapped.add(name, std::move(shape));
    return mapped.refusal(rows);
  };
  EXPECT_THAT(refusal("vision.patch.weight", {2}),
              HasSubstr("\"vision.patch.weight\" has no place"));
  EXPECT_THAT(refusal("l.2.q.weight", {4, 2}), HasSubstr("beyond the 2"));
  EXPECT_THAT(refusal("l.0.q.weight", {6, 2}), HasSubstr("not whole heads of 4"));
  EXPECT_THAT(refusal("l.0.both", {5, 2}), HasSubstr("odd number of rows"));
  EXPECT_THAT(refusal("l.0.t", {5}), HasSubstr("a vector cannot be transposed"));
  EXPECT_THAT(refusal("l.0.f", {8, 2}), HasSubstr("wanted 24 rows"));
  EXPECT_THAT(refusal("l.0.e.1.w.weight", {2, 2}), HasSubstr("number 0 of its parts is missing"));
  EXPECT_THAT(refusal("l.0.one", {2, 2, 2, 2, 2}), HasSubstr("four dimensions"));
}

TEST(Names, PartsMustBeAlikeAndPlacesFree) {
  Mapped unlike;
  unlike.add("l.0.e.0.w.weight", {2, 2});
  unlike.add("l.0.e.1.w.weight", {2, 3});
  EXPECT_THAT(unlike.refusal(rows), HasSubstr("\"l.0.e.1.w.weight\" is 2 x 3 of F32"));
  Mapped types;
  types.add("l.0.e.0.w.weight", {2, 2});
  types.add("l.0.e.1.w.weight", {2, 2}, "BF16");
  EXPECT_THAT(types.refusal(rows), HasSubstr("2 x 2 of BF16"));
  Mapped twice;
  twice.add("l.0.one", {2});
  twice.add("l.0.other", {2});
  EXPECT_THAT(twice.refusal(rows), HasSubstr("both belong to \"blk.0.one.weight\""));
}

TEST(Names, OneNumberOfEachBlockBecomesAList) {
  constexpr model::NumberRow numbers[] = {{"xielu.beta", "l.{}.beta"}};
  model::Architecture architecture{.name = "test"};
  architecture.conversion.numbers = numbers;
  auto config = model::Config::parse(R"({"num_hidden_layers": 2})", "config.json");
  Mapped mapped;
  mapped.held.reserve(2);
  for (const float value : {0.5f, 0.25f}) {
    const std::string name = "l." + std::to_string(mapped.held.size()) + ".beta";
    mapped.held.emplace_back(std::vector<uint64_t>{}, value);
    mapped.tensors[name] = mapped.held.back().stored;
    mapped.tensors[name].name = name;
  }
  model::Keys keys;
  const Status read = read_numbers(mapped.tensors, architecture, *config, keys);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(std::get<std::vector<float>>(*keys.find("xielu.beta")), (Values{0.5f, 0.25f}));
  EXPECT_TRUE(find_targets(mapped.tensors, architecture, *config, {})->empty());

  mapped.tensors.erase("l.1.beta");
  EXPECT_THAT(read_numbers(mapped.tensors, architecture, *config, keys).error().message,
              HasSubstr("\"l.1.beta\" is missing"));
  mapped.add("l.1.beta", {2});
  EXPECT_THAT(read_numbers(mapped.tensors, architecture, *config, keys).error().message,
              HasSubstr("\"l.1.beta\" is not one number"));
}

TEST(Names, BlocksThatDraftAreLeftOut) {
  Mapped mapped;
  mapped.add("l.2.q.weight", {4, 2});
  const auto found = mapped.find(rows, "drafts");
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_TRUE(found->empty());
  mapped.add("l.3.q.weight", {4, 2});
  EXPECT_FALSE(mapped.find(rows, "drafts"));
}

}  // namespace
}  // namespace assay::convert
