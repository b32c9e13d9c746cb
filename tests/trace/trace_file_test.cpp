// Traces: what is written comes back; foreign names; hostile metadata.
#include "trace/trace_file.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>

#include "trace/llama_names.h"
#include "trace/recorder.h"
#include "trace/summary.h"

namespace assay::trace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Stored {
  std::string key, shape;
  std::vector<float> values;
};

/// A safetensors file of f32 tensors with this metadata (JSON).
std::vector<uint8_t> file(const std::string& metadata, const std::vector<Stored>& tensors) {
  std::string header = "{\"__metadata__\":" + metadata;
  std::vector<uint8_t> data;
  for (const Stored& one : tensors) {
    const size_t begin = data.size();
    const auto* bytes = reinterpret_cast<const uint8_t*>(one.values.data());
    data.insert(data.end(), bytes, bytes + one.values.size() * 4);
    header += ",\"" + one.key + "\":{\"dtype\":\"F32\",\"shape\":" + one.shape +
              ",\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(data.size()) +
              "]}";
  }
  header += "}";
  std::vector<uint8_t> out;
  for (int i = 0; i < 8; ++i) out.push_back(uint8_t(uint64_t(header.size()) >> (8 * i)));
  out.insert(out.end(), header.begin(), header.end());
  out.insert(out.end(), data.begin(), data.end());
  return out;
}

Result<Trace> parsed(const std::string& metadata, const std::vector<Stored>& tensors = {}) {
  return Trace::parse(file(metadata, tensors), "x");
}

std::string refusal(const std::string& metadata, const std::vector<Stored>& tensors = {}) {
  const auto trace = parsed(metadata, tensors);
  return trace ? "accepted" : trace.error().message;
}

TEST(TraceFile, AGraphNamesEarlierTensorsOrLeaves) {
  const std::vector<Stored> two = {{"000000.a.GET_ROWS", "[1,2]", {1, 2}},
                                   {"000001.b.MUL", "[1,2]", {1, 2}}};
  const auto with = [&](const std::string& graph) {
    return refusal(R"({"tokens":"[5]","graph":")" + graph + R"("})", two);
  };
  EXPECT_EQ(with(R"([[\"w\"],[[0,1],0,\"w\"]])"), "accepted");
  for (const char* wrong : {"[[]]", "[[],[1]]", "[[],[2]]", "[[],[-1]]", "[[],[[]]]",
                            "[[],[[0,1,2]]]", "[[],0]", "{}", "[[],[null]]", "x"})
    EXPECT_THAT(with(wrong), HasSubstr("graph is not a list")) << wrong;
}

TEST(TraceFile, StepsComeFromTokensOrFromSteps) {
  const auto one = parsed(R"({"tokens":"[5, 6]"})");
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_THAT(one->steps()[0].tokens, ElementsAre(5, 6));
  EXPECT_THAT(one->steps()[0].positions, ElementsAre(0u, 1u));
  EXPECT_THAT(one->steps()[0].selected, ElementsAre(0u, 1u));
  const auto two = parsed(
      R"({"steps":"[{\"tokens\":[5,6],\"selected\":[1]},{\"tokens\":[7]},{\"tokens\":[8],\"positions\":[9]}]"})");
  ASSERT_TRUE(two) << two.error().message;
  EXPECT_THAT(two->steps()[0].selected, ElementsAre(1u));
  EXPECT_THAT(two->steps()[1].positions, ElementsAre(2u));
  EXPECT_THAT(two->steps()[2].positions, ElementsAre(9u));
}

TEST(TraceFile, WrongMetadataIsRefused) {
  EXPECT_THAT(refusal("{}"), HasSubstr("neither tokens nor steps"));
  for (const char* tokens :
       {"x", "[]", "[-1]", "[1.5]", "[\\\"1\\\"]", "{}", "[99999999999]", "[[1]]", "1"})
    EXPECT_THAT(refusal(std::string("{\"tokens\":\"") + tokens + "\"}"),
                HasSubstr("not a JSON list of ids"))
        << tokens;
  for (const char* steps :
       {"[{}]", "[{\\\"tokens\\\":[]}]", "[1]", "[{\\\"tokens\\\":[1],\\\"positions\\\":[0,1]}]",
        "[{\\\"tokens\\\":[1,2],\\\"selected\\\":[1,0]}]",
        "[{\\\"tokens\\\":[1],\\\"selected\\\":[1]}]"})
    EXPECT_THAT(refusal(std::string("{\"steps\":\"") + steps + "\"}"),
                HasSubstr("step 0 has no good"))
        << steps;
  EXPECT_THAT(refusal(R"({"steps":"[]"})"), HasSubstr("steps is not"));
  EXPECT_THAT(refusal(R"({"tokens":"[1]","order":"[1,2]"})"), HasSubstr("order is not a count"));
}

TEST(TraceFile, NamesAreOursOrLlamaCpps) {
  const auto trace =
      parsed(R"({"tokens":"[1,2]"})", {{"000000.embd", "[2,2]", {1, 2, 3, 4}},
                                       {"000002.Qcur-3.ROPE", "[1,2,2,1]", {1, 2, 3, 4}},
                                       {"000001.Qcur-3.MUL_MAT", "[1,1,2,2]", {5, 6, 7, 8}},
                                       {"000003.Qcur-3.ADD", "[1,1,2,2]", {5, 6, 7, 9}},
                                       {"000004.Qcur-3 (view).VIEW", "[1]", {0}},
                                       {"000005.mystery-3.MUL_MAT", "[1]", {0}},
                                       {"logits", "[1,1,2,1]", {7, 8}}});
  ASSERT_TRUE(trace) << trace.error().message;
  ASSERT_NE(trace->find(0, "blk.3.q"), nullptr);
  EXPECT_EQ(trace->values(*trace->find(0, "blk.3.q"))->data.back(),
            9.0);  // the sum, not the product
  EXPECT_EQ(trace->find(0, "blk.3.q_rope")->rows, 2u);
  EXPECT_EQ(trace->find(0, "blk.3.q_rope")->width, 2u);
  EXPECT_EQ(trace->find(0, "logits")->width, 1u);
  EXPECT_THAT(trace->unknown(), ElementsAre("000005.mystery-3.MUL_MAT"));
  EXPECT_EQ(trace->parts(), 1u);
  EXPECT_EQ(trace->find(1, "embd"), nullptr);
}

TEST(TraceFile, TensorsBelongToStepsByOrderOrByEmbeddings) {
  const std::vector<Stored> tensors = {{"000000.embd", "[1,1]", {1}},
                                       {"000001.out_norm", "[1,1]", {2}},
                                       {"000002.embd", "[1,1]", {3}},
                                       {"000003.out_norm", "[1,1]", {4}}};
  for (const char* order : {"", R"(,"order":"[2,2]")"}) {
    const auto trace = parsed(
        R"({"steps":"[{\"tokens\":[1]},{\"tokens\":[2]}]")" + std::string(order) + "}", tensors);
    ASSERT_TRUE(trace) << trace.error().message;
    EXPECT_EQ(trace->values(*trace->find(1, "out_norm"))->data[0], 4.0) << order;
  }
  EXPECT_THAT(refusal(R"({"tokens":"[1]"})", tensors), HasSubstr("'embd' occurs twice in step 0"));
}

TEST(TraceFile, LlamaNamesHaveLayers) {
  EXPECT_EQ(from_llama_cpp("Kcur-12", "ROPE").canonical, "blk.12.k_rope");
  EXPECT_EQ(from_llama_cpp("Kcur", "ROPE").canonical, "");
  EXPECT_EQ(from_llama_cpp("result_output", "MUL_MAT").canonical, "logits");
  EXPECT_EQ(from_llama_cpp("result_output-1", "MUL_MAT").canonical, "");
  EXPECT_TRUE(from_llama_cpp("norm-1", "RMS_NORM").part);
  EXPECT_FALSE(from_llama_cpp("Kcur-", "ROPE").part);
}

TEST(TraceFile, LlamaNamesOfQwenAndPhi) {
  EXPECT_EQ(from_llama_cpp("Qcur_normed-3", "MUL").canonical, "blk.3.q_norm");
  EXPECT_EQ(from_llama_cpp("Kcur_normed-3", "MUL").canonical, "blk.3.k_norm");
  EXPECT_EQ(from_llama_cpp("wqkv-3", "MUL_MAT").canonical, "blk.3.qkv");
  EXPECT_EQ(from_llama_cpp("wqkv_b-3", "ADD").canonical, "blk.3.qkv");
  EXPECT_EQ(from_llama_cpp("result_output", "ADD").canonical, "logits");
  EXPECT_EQ(from_llama_cpp("result_output_no_bias", "MUL_MAT").canonical, "logits");
  EXPECT_TRUE(from_llama_cpp("Qcur-3", "SCALE").part);
  EXPECT_TRUE(from_llama_cpp("Qcur-3", "VIEW").part);
}

TEST(TraceFile, LlamaNamesTellTheNodesOfAProductApart) {
  // llama.cpp gives each node the name that build_ffn, build_attn or the model's graph gives last.
  for (const char* name : {"ffn_down", "ffn_down_s", "ffn_out"})
    for (const char* node : {"MUL_MAT", "MUL", "ADD"}) {
      const LlamaName found = from_llama_cpp(std::string(name) + "-3", node);
      EXPECT_EQ(found.canonical, "blk.3.down") << name;
      EXPECT_EQ(found.node, node);
    }
  EXPECT_EQ(from_llama_cpp("ffn_gate_b-3", "ADD").canonical, "blk.3.gate");
  EXPECT_EQ(from_llama_cpp("ffn_up_s-3", "MUL").canonical, "blk.3.up");
  EXPECT_EQ(from_llama_cpp("l_out-3", "ADD").node, "");
}

// A product, its sum with a bias, and what a program makes of them.
TEST(TraceFile, TheFinishedResultIsTheNodeThatTheFileNeeds) {
  op::Operation plain{.name = "blk.0.down", .of = op::Matmul{}};
  op::Operation biased = plain;
  biased.bias = 0;
  op::Operation unscaled{.name = "blk.0.down_unscaled", .of = op::Matmul{}};
  op::Operation scaled{.name = "blk.0.down", .of = op::Scale{}};
  const auto key_of = [](const Result<Trace>& trace, const op::Operation& operation) {
    const TraceTensor* found = trace->find(0, operation);
    return found ? found->key : trace->why_missing(0, operation);
  };
  const Stored product{"000001.ffn_down-0.MUL_MAT", "[1,1,2,2]", {1, 2, 3, 4}};
  const Stored sum{"000002.ffn_out-0.ADD", "[1,1,2,2]", {1, 2, 3, 5}};
  const auto both = parsed(R"({"tokens":"[1,2]"})", {product, sum});
  ASSERT_TRUE(both) << both.error().message;
  EXPECT_EQ(key_of(both, plain), product.key);
  EXPECT_EQ(key_of(both, biased), sum.key);
  EXPECT_EQ(key_of(both, unscaled), product.key);
  EXPECT_THAT(key_of(both, scaled), HasSubstr("the file has a scale"));
  const auto one = parsed(R"({"tokens":"[1,2]"})", {product});
  ASSERT_TRUE(one);
  EXPECT_THAT(key_of(one, biased), HasSubstr("'000001.ffn_down-0.MUL_MAT' is not the result: the "
                                             "file has a bias"));
  const auto other = parsed(R"({"tokens":"[1,2]"})", {sum});
  ASSERT_TRUE(other);
  EXPECT_THAT(key_of(other, plain), HasSubstr("has something added or multiplied"));
  // A name of ours is the finished result, whatever the file has.
  const auto ours = parsed(R"({"tokens":"[1,2]"})", {{"000000.blk.0.down", "[2,2]", {1, 2, 3, 4}}});
  ASSERT_TRUE(ours);
  EXPECT_EQ(key_of(ours, biased), "000000.blk.0.down");
  EXPECT_EQ(key_of(ours, unscaled), "not in the trace");
}

TEST(TraceFile, WhatIsNoTraceSaysWhatItIs) {
  const auto refused = [](std::string_view bytes) {
    return Trace::parse({bytes.begin(), bytes.end()}, "x").error().message;
  };
  EXPECT_THAT(refused("GGUF\3\0\0\0 and more"), HasSubstr("it is a GGUF model"));
  EXPECT_THAT(refused("\x93NUMPY and more"), HasSubstr("it is a .npy array"));
  EXPECT_THAT(refused("PK\3\4 and more"), HasSubstr("it is a zip archive"));
  EXPECT_THAT(refusal(R"({"format":"assay.case/1","tokens":"[1]"})"),
              HasSubstr("'assay trace replay' judges it"));
}

// 2 tokens; q is 2 wide, k and v 1; gate and up 1.
TEST(TraceFile, FusedProductsAreSplit) {
  const std::vector<Stored> whole = {{"000000.wqkv-0.MUL_MAT", "[2,4]", {1, 2, 3, 4, 5, 6, 7, 8}},
                                     {"000001.Qcur-0.ROPE", "[2,2]", {0, 0, 0, 0}},
                                     {"000002.Kcur-0.ROPE", "[2,1]", {0, 0}},
                                     {"000003.ffn_up-0.MUL_MAT", "[2,2]", {1, 2, 3, 4}},
                                     {"000004.ffn_swiglu-0.GLU", "[2,1]", {0, 0}}};
  const auto trace = parsed(R"({"tokens":"[1,2]"})", whole);
  ASSERT_TRUE(trace) << trace.error().message;
  const auto values = [&](const char* name) {
    const TraceTensor* tensor = trace->find(0, name);
    return tensor ? trace->values(*tensor)->data : std::vector<double>();
  };
  EXPECT_THAT(values("blk.0.q"), ElementsAre(1, 2, 5, 6));
  EXPECT_THAT(values("blk.0.k"), ElementsAre(3, 7));
  EXPECT_THAT(values("blk.0.v"), ElementsAre(4, 8));
  EXPECT_THAT(values("blk.0.gate"), ElementsAre(1, 3));
  EXPECT_THAT(values("blk.0.up"), ElementsAre(2, 4));
  EXPECT_EQ(trace->find(0, "blk.0.qkv"), nullptr);
  // Without what tells the widths the parts are not in the trace.
  const auto unknown = parsed(R"({"tokens":"[1,2]"})", {whole[0], whole[3]});
  ASSERT_TRUE(unknown) << unknown.error().message;
  EXPECT_EQ(unknown->find(0, "blk.0.q"), nullptr);
  EXPECT_EQ(unknown->find(0, "blk.0.up")->width, 2u);
}

TEST(TraceFile, LlamaNamesOfRoutersAndExperts) {
  EXPECT_EQ(from_llama_cpp("ffn_moe_logits-3", "MUL_MAT").canonical, "blk.3.router");
  EXPECT_EQ(from_llama_cpp("ffn_moe_logits_biased-3", "ADD").node, bias_node);
  EXPECT_EQ(from_llama_cpp("ffn_moe_probs-3", "ADD").canonical, "blk.3.router");
  EXPECT_TRUE(from_llama_cpp("ffn_moe_probs-3", "SOFT_MAX").part);
  EXPECT_EQ(from_llama_cpp("ffn_moe_up-3", "MUL_MAT_ID").canonical, "blk.3.experts_up");
  EXPECT_EQ(from_llama_cpp("ffn_moe_up-3", "MUL_MAT_ID").node, product_node);
  EXPECT_EQ(from_llama_cpp("ffn_moe_down_biased-3", "ADD_ID").node, bias_node);
  EXPECT_TRUE(from_llama_cpp("ffn_moe_up-3", "VIEW").part);
  EXPECT_EQ(from_llama_cpp("ffn_moe_swiglu_oai-3", "GLU").canonical, "blk.3.experts_act");
  EXPECT_EQ(from_llama_cpp("ffn_moe_out-3", "ADD").canonical, "blk.3.experts");
  EXPECT_TRUE(from_llama_cpp("ffn_moe_weighted-3", "MUL").part);
  EXPECT_EQ(from_llama_cpp("attn_norm-3", "ADD").canonical, "blk.3.attn_norm");
  EXPECT_TRUE(from_llama_cpp("norm_w-3", "MUL").part);
  EXPECT_EQ(from_llama_cpp("result_output", "SCALE").node, last_scale_node);
}

// 2 tokens, 2 of 3 experts.
TEST(TraceFile, ARoutingOfTwoTensorsIsJoined) {
  const std::vector<Stored> parts = {
      {"000000.ffn_moe_argsort-0.ARGSORT", "[1,1,2,3]", {2, 0, 1, 1, 2, 0}},
      {"000001.ffn_moe_weights-0.GET_ROWS", "[1,2,2,1]", {0.5, 0.25, 0.5, 0.4}},
      {"000002.ffn_moe_weights_norm-0.DIV", "[1,1,2,2]", {0.7, 0.3, 0.6, 0.4}}};
  const auto trace = parsed(R"({"tokens":"[1,2]"})", parts);
  ASSERT_TRUE(trace) << trace.error().message;
  const TraceTensor* routing = trace->find(0, "blk.0.routing");
  ASSERT_NE(routing, nullptr);
  EXPECT_THAT(trace->values(*routing)->data,
              ElementsAre(2, 0, double(0.7f), double(0.3f), 1, 2, double(0.6f), double(0.4f)));
  EXPECT_EQ(trace->find(0, "blk.0.routing_weights"), nullptr);
  // Weights without ids, and ids of fewer experts than there are weights, are no routing.
  const auto alone = parsed(R"({"tokens":"[1,2]"})", {parts[1]});
  ASSERT_TRUE(alone);
  EXPECT_EQ(alone->find(0, "blk.0.routing"), nullptr);
  const auto short_ids =
      parsed(R"({"tokens":"[1,2]"})", {{"000000.blk.0.routing_ids", "[2,1]", {2, 1}},
                                       {"000001.blk.0.routing_weights", "[2,2]", {1, 2, 3, 4}}});
  ASSERT_TRUE(short_ids);
  EXPECT_EQ(short_ids->find(0, "blk.0.routing"), nullptr);
}

/// llama.cpp calls the shared expert's parts as those of a dense layer, and the last scale or cap of
/// the logits as these.
TEST(TraceFile, OperationsThatLlamaCppCallsAsOthers) {
  const auto trace =
      parsed(R"({"tokens":"[1,2]"})", {{"000000.ffn_up-0.MUL_MAT", "[2,2]", {1, 2, 3, 4}},
                                       {"000001.ffn_swiglu-0.GLU", "[2,2]", {1, 2, 3, 4}},
                                       {"000002.ffn_shexp-0.MUL_MAT", "[2,2]", {5, 6, 7, 8}},
                                       {"000003.ffn_out-0.ADD", "[2,2]", {5, 6, 7, 8}},
                                       {"000004.result_output.SCALE", "[2,2]", {1, 2, 3, 4}}});
  ASSERT_TRUE(trace) << trace.error().message;
  const auto key_of = [&](op::Operation operation) {
    const TraceTensor* found = trace->find(0, operation);
    return found ? found->key : trace->why_missing(0, operation);
  };
  EXPECT_EQ(key_of({.name = "blk.0.shared_up", .of = op::Matmul{}}), "000000.ffn_up-0.MUL_MAT");
  EXPECT_EQ(key_of({.name = "blk.0.shared_act", .of = op::Gate{}}), "000001.ffn_swiglu-0.GLU");
  EXPECT_EQ(key_of({.name = "blk.0.shared_down", .of = op::Matmul{}}),
            "000002.ffn_shexp-0.MUL_MAT");
  EXPECT_EQ(key_of({.name = "blk.0.shared_router", .of = op::Matmul{}}), "not in the trace");
  EXPECT_EQ(key_of({.name = "blk.0.experts_sum", .of = op::Add{}}), "000003.ffn_out-0.ADD");
  EXPECT_EQ(key_of({.name = "logits_capped", .of = op::SoftCap{}, .role = op::Role::logits}),
            "000004.result_output.SCALE");
  EXPECT_NE(key_of({.name = "logits", .of = op::Matmul{}}), "000004.result_output.SCALE");
}

TEST(TraceFile, SummariesOfValuesAndOfStatisticsAgree) {
  const std::vector<float> values = {1, -2, 3, NAN, INFINITY, 5};
  const auto lines = [&](size_t row) {
    std::vector<float> out;
    for (const double x : row_statistics(std::span(values).subspan(row * 3, 3)))
      out.push_back(float(x));
    return out;
  };
  std::vector<float> both = lines(0);
  for (const float x : lines(1)) both.push_back(x);
  const auto plain = parsed(R"({"tokens":"[1,2]"})", {{"000000.embd", "[2,3]", values}});
  const auto counted =
      parsed(R"({"tokens":"[1,2]","content":"statistics"})", {{"000000.embd", "[2,8]", both}});
  ASSERT_TRUE(plain && counted);
  const auto a = summarise(*plain), b = summarise(*counted);
  ASSERT_TRUE(a && b);
  for (const Summary& one : {(*a)[0], (*b)[0]}) {
    EXPECT_EQ(one.nan, 1u);
    EXPECT_EQ(one.infinite, 1u);
    EXPECT_EQ(one.elements, 6u);
    EXPECT_EQ(one.min, -2.0);
    EXPECT_EQ(one.max, INFINITY);
  }
  const auto wrong =
      parsed(R"({"tokens":"[1,2]","content":"statistics"})", {{"000000.embd", "[2,3]", values}});
  EXPECT_THAT(summarise(*wrong).error().message, HasSubstr("holds no statistics"));
}

}  // namespace
}  // namespace assay::trace
