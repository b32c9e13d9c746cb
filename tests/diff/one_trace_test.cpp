// One trace against the model, as people store it: in fewer bits, with the heads before the tokens,
// under other names.
#include <bit>
#include <nlohmann/json.hpp>

#include "diff/diff.h"
#include "diff/support.h"

namespace assay::diff {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

/// How one tensor is stored: a type, and a shape with the values in its order.
struct Stored {
  std::string key, type = "F32";
  std::vector<uint64_t> shape;
  std::vector<double> values;
};

std::string bytes_of(const Stored& stored) {
  std::string out;
  for (const double value : stored.values) {
    const auto bits = std::bit_cast<uint32_t>(float(value));
    uint32_t word = bits;
    size_t size = 4;
    if (stored.type == "BF16") word = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16, size = 2;
    if (stored.type == "F16") {
      size = 2;
      // Normal numbers and zero: what a trace of kjv holds.
      const double rounded = judge::round_to_f16(value);
      const auto f = std::bit_cast<uint32_t>(float(rounded));
      const uint32_t sign = f >> 16 & 0x8000;
      const int exponent = int(f >> 23 & 255) - 127;
      word = exponent >= -14 ? sign | uint32_t(exponent + 15) << 10 | (f >> 13 & 1023)
                             : sign | uint32_t(std::lround(std::fabs(rounded) * 0x1p24));
    }
    out.append(reinterpret_cast<const char*>(&word), size);
  }
  return out;
}

/// The trace with each tensor stored as `change` leaves it.
Result<trace::Trace> restored(const trace::Trace& from,
                              const std::function<void(Stored&)>& change) {
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"engine", "another engine"},
                            {"tokens", nlohmann::json(from.steps()[0].tokens).dump()}};
  std::string data;
  for (const auto& tensor : from.tensors()) {
    const auto values = from.values(tensor);
    if (!values) return values.error();
    Stored stored{tensor.key, "F32", {values->rows, values->width}, values->data};
    change(stored);
    if (stored.key.empty()) continue;
    const std::string bytes = bytes_of(stored);
    header[stored.key] = {{"dtype", stored.type},
                          {"shape", stored.shape},
                          {"data_offsets", {data.size(), data.size() + bytes.size()}}};
    data += bytes;
  }
  const std::string text = header.dump();
  std::vector<uint8_t> file;
  for (int i = 0; i < 8; ++i) file.push_back(uint8_t(uint64_t(text.size()) >> (8 * i)));
  file.insert(file.end(), text.begin(), text.end());
  file.insert(file.end(), data.begin(), data.end());
  return trace::Trace::parse(std::move(file), "x");
}

trace::Trace recorded(const Recording& how = {}) {
  auto trace = record(how);
  if (!trace) throw std::runtime_error(trace.error().message);
  return std::move(*trace);
}

Report alone(const Result<trace::Trace>& trace) {
  if (!trace) throw std::runtime_error(trace.error().message);
  auto report = judge_alone(kjv_program(), *trace);
  if (!report) throw std::runtime_error(report.error().message);
  return std::move(*report);
}

TEST(OneTrace, IsJudgedByTheModel) {
  const Report right = alone(record({}));
  EXPECT_EQ(right.verdict, Verdict::pass);
  EXPECT_EQ(right.compared, kjv_program().operations.size());
  EXPECT_THAT(right.sentence, ::testing::StartsWith("PASS: every operation of assay test (assay/1) "
                                                    "is inside its limits; 100 of 100"));
  const auto json = nlohmann::json::parse(to_json(kjv_program(), right));
  EXPECT_TRUE(json["b"].is_null());
  EXPECT_TRUE(json["logits"].is_null());
  EXPECT_TRUE(json["operations"][3]["b"].is_null());
  const Report wrong =
      alone(record({.alter = [](const op::Operation& operation, std::vector<float>& out) {
        if (operation.name == "blk.4.up") out[3] += 1;
      }}));
  EXPECT_EQ(wrong.verdict, Verdict::fail);
  EXPECT_EQ(wrong.first->operation, "blk.4.up");
  const auto place = nlohmann::json::parse(to_json(kjv_program(), wrong))["first"];
  EXPECT_EQ(place["where"], "token 0, channel 3");
  EXPECT_NEAR(place["got"].get<double>() - place["wanted"].get<double>(), 1, 1e-3);
}

TEST(OneTrace, StoredInFewerBitsCannotBeJudgedAndIsNotWrong) {
  const trace::Trace whole = recorded();
  for (const char* type : {"F16", "BF16"}) {
    const Report report = alone(restored(whole, [&](Stored& stored) { stored.type = type; }));
    EXPECT_EQ(report.verdict, Verdict::unmeasured) << report.sentence;
    EXPECT_THAT(report.sentence, HasSubstr(std::string("keeps its values as ") + type));
    EXPECT_THAT(report.sentence, HasSubstr("record the values as F32"));
  }
  // What the cache holds is f16 by nature, and loses nothing.
  const Report cache = alone(restored(whole, [](Stored& stored) {
    if (stored.key.find(".kv_") != std::string::npos) stored.type = "F16";
  }));
  EXPECT_EQ(cache.verdict, Verdict::pass) << cache.sentence;
}

TEST(OneTrace, AnEngineThatKeepsOneResultInBf16IsNamed) {
  const auto wrong = record({.alter = [](const op::Operation& operation, std::vector<float>& out) {
    if (operation.name != "blk.2.attn_norm") return;
    for (float& x : out)
      x = std::bit_cast<float>((std::bit_cast<uint32_t>(x) + 0x8000) & 0xFFFF0000);
  }});
  ASSERT_TRUE(wrong);
  const Report report = alone(wrong);
  EXPECT_EQ(report.first->operation, "blk.2.attn_norm");
}

/// (tokens, width) as (1, heads, tokens, channels of a head).
void put_heads_first(Stored& stored, uint64_t heads) {
  const uint64_t tokens = stored.shape[0], dim = stored.shape[1] / heads;
  const std::vector<double> before = stored.values;
  for (uint64_t t = 0; t < tokens; ++t)
    for (uint64_t h = 0; h < heads; ++h)
      for (uint64_t i = 0; i < dim; ++i)
        stored.values[(h * tokens + t) * dim + i] = before[(t * heads + h) * dim + i];
  stored.shape = {1, heads, tokens, dim};
}

uint64_t heads_in(const std::string& key) {
  for (const char* name : {".q", ".q_rope", ".kqv"})
    if (key.ends_with(name)) return 4;
  for (const char* name : {".k", ".v", ".k_rope", ".kv_k", ".kv_v"})
    if (key.ends_with(name)) return 2;
  return 0;
}

TEST(OneTrace, HeadsBeforeTokensAreFoundEvenWhereTheirNumbersAreEqual) {
  for (const size_t tokens : {2, 4, 7}) {
    const trace::Trace whole = recorded({.tokens = {eight.begin(), eight.begin() + long(tokens)}});
    auto first = restored(whole, [](Stored& stored) {
      if (const uint64_t heads = heads_in(stored.key)) put_heads_first(stored, heads);
    });
    ASSERT_TRUE(first) << first.error().message;
    const auto notes = arrange(kjv_program(), *first);
    ASSERT_THAT(notes, SizeIs(1)) << tokens;
    EXPECT_THAT(notes[0], HasSubstr("stored as (heads, tokens, channels of a head)"));
    const Report report = alone(first);
    EXPECT_EQ(report.verdict, Verdict::pass) << tokens << report.sentence;
  }
}

TEST(OneTrace, TransposedTensorsAreFound) {
  auto turned = restored(recorded(), [](Stored& stored) {
    const std::vector<double> before = stored.values;
    const uint64_t rows = stored.shape[0], width = stored.shape[1];
    for (uint64_t t = 0; t < rows; ++t)
      for (uint64_t i = 0; i < width; ++i) stored.values[i * rows + t] = before[t * width + i];
    stored.shape = {width, rows};
  });
  ASSERT_TRUE(turned) << turned.error().message;
  EXPECT_THAT(arrange(kjv_program(), *turned), SizeIs(1));
  EXPECT_EQ(alone(turned).verdict, Verdict::pass);
}

TEST(OneTrace, TheDocumentedLayoutStaysEvenWhereTheValuesAreWrong) {
  const trace::Trace whole = recorded({.tokens = {eight.begin(), eight.begin() + 4}});
  auto wrong = restored(whole, [](Stored& stored) {
    const uint64_t heads = heads_in(stored.key);
    if (heads) stored.shape = {1, stored.shape[0], heads, stored.shape[1] / heads};
    if (stored.key.ends_with("blk.1.q_rope"))
      for (double& x : stored.values) x *= 3;
  });
  ASSERT_TRUE(wrong);
  EXPECT_THAT(arrange(kjv_program(), *wrong), IsEmpty());
  const Report report = alone(wrong);
  EXPECT_EQ(report.verdict, Verdict::fail);
  EXPECT_EQ(report.first->operation, "blk.1.q_rope");
}

TEST(OneTrace, UnknownNamesAreReportedWithTheNearestKnownOne) {
  const auto renamed = restored(recorded(), [](Stored& stored) {
    const auto rename = [&](const char* from, const char* to) {
      if (stored.key.ends_with(from)) stored.key.replace(7, std::string::npos, to);
    };
    rename("blk.0.gate", "blk.0.gates");
    rename("blk.1.attn_norm", "model.layers.1.input_layernorm");
    rename("blk.2.down", "blk.2.ffn_down");
    rename("blk.3.v", "blk.3.zzzzzzzzz");
    if (stored.key.ends_with("blk.5.up")) stored.key = "blk.5.up";  // without its number
  });
  const Report report = alone(renamed);
  // What they hold is judged by what reads it.
  EXPECT_EQ(report.verdict, Verdict::pass);
  std::map<std::string, std::string> nearest;
  for (const UnknownName& one : report.unknown) {
    const size_t name = one.key.starts_with("0") ? 7 : 0;
    nearest[one.key.substr(name)] = one.nearest.empty() ? "" : one.nearest.substr(7);
  }
  EXPECT_EQ(nearest, (std::map<std::string, std::string>{
                         {"blk.0.gates", "blk.0.gate"},
                         {"model.layers.1.input_layernorm", "blk.1.attn_norm"},
                         {"blk.2.ffn_down", "blk.2.down"},
                         {"blk.3.zzzzzzzzz", ""},
                         {"blk.5.up", "blk.5.up"}}));
  EXPECT_THAT(explanations(report)[0], HasSubstr("5 tensors have names that are not known"));
  EXPECT_THAT(explanations(report)[0], HasSubstr("did you mean '"));
  EXPECT_THAT(alone(record({})).unknown, IsEmpty());
}

std::string refusal(const Result<trace::Trace>& trace) {
  if (!trace) return trace.error().message;
  const auto report = judge_alone(kjv_program(), *trace);
  return report ? report->sentence : report.error().message;
}

TEST(OneTrace, TheLastTokenAloneIsNotEnoughAndSaysWhatIs) {
  const auto last = [](Stored& stored) {
    stored.values.erase(stored.values.begin(), stored.values.end() - long(stored.shape[1]));
    stored.shape[0] = 1;
  };
  const trace::Trace whole = recorded();
  EXPECT_THAT(refusal(restored(whole,
                               [&](Stored& stored) {
                                 if (stored.key.ends_with("logits")) last(stored);
                               })),
              HasSubstr("\"selected\": [7]"));
  EXPECT_THAT(refusal(restored(whole, last)), HasSubstr("record every token of the prompt"));
}

}  // namespace
}  // namespace assay::diff
