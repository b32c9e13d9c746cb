// A model of random F32 weights with every bias and rope_freqs against the logits that llama.cpp
// gave for it (../shared/data/README.md), through model::build and the CPU executor with an f32
// cache. No code is shared with llama.cpp, so a wrong reading of a key, a bias or a pairing shows.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cpu/executor.h"
#include "judge/replay.h"
#include "model/model.h"
#include "op/rope.h"

namespace assay::tests {
namespace {

std::string data_path(const std::string& name) {
  const char* given = std::getenv("ASSAY_SHARED_DATA");
  return (given ? std::string(given) : ASSAY_SOURCE_DIR "/../shared/data") + "/architectures/" +
         name;
}

/// One tensor of a safetensors file.
template <class T>
std::vector<T> safetensor(const std::string& path, const std::string& name) {
  std::ifstream file(path, std::ios::binary);
  uint64_t length = 0;
  file.read(reinterpret_cast<char*>(&length), 8);
  std::string header(length, ' ');
  file.read(header.data(), std::streamsize(length));
  const auto offsets = nlohmann::json::parse(header)[name]["data_offsets"];
  const uint64_t first = offsets[0], last = offsets[1];
  std::vector<T> values((last - first) / sizeof(T));
  file.seekg(std::streamoff(8 + length + first));
  file.read(reinterpret_cast<char*>(values.data()), std::streamsize(last - first));
  return values;
}

/// KL(p‖q) in nats of two rows of logits.
double divergence(std::span<const float> p, std::span<const float> q) {
  double sum_p = 0, sum_q = 0, kl = 0;
  for (float x : p) sum_p += std::exp(double(x));
  for (float x : q) sum_q += std::exp(double(x));
  for (size_t i = 0; i < p.size(); ++i)
    kl += std::exp(double(p[i])) / sum_p *
          (double(p[i]) - std::log(sum_p) - double(q[i]) + std::log(sum_q));
  return kl;
}

struct Dense {
  std::vector<int32_t> tokens = safetensor<int32_t>(logits_path(), "tokens");
  std::vector<float> want = safetensor<float>(logits_path(), "logits");  // (tokens, 128)
  gguf::File file = std::move(*gguf::File::open(data_path("llama-dense.gguf")));
  Result<op::Program> built = model::build(file);
  op::Program* program = built ? &*built : nullptr;

  static std::string logits_path() { return data_path("llama-dense.logits.safetensors"); }
  static bool here() { return bool(std::ifstream(logits_path())); }
};

struct Distance {
  double share = 0;       // the root mean square difference of the logits, as a share of its limit
  double divergence = 0;  // the largest KL of a position, nats
};

/// A logit is a dot of K = 256 terms; each rounding is at most u·|partial sum|, the partial sums
/// are a random walk that ends at the logit, the roundings are independent: root mean square under
/// √K·u·rms(logits). Twice that for two engines and for x, which came through such dots itself.
/// Root mean square, since the worst-case bound of a logit (4·72·u·Σ|w||x|) is 80 times above what
/// is seen, and this file's scales damp attention so far that a wrong RoPE pairing stays below it.
Distance run(const Dense& dense) {
  op::ExecutorOptions options;
  options.threads = 2;
  options.context = 32;
  options.cache = op::CacheType::f32;
  const auto executor = cpu::make_executor(*dense.program, options);
  const uint32_t count = uint32_t(dense.tokens.size());
  std::vector<uint32_t> positions, sequences(count, 0);
  for (uint32_t i = 0; i < count; ++i) positions.push_back(i);
  const auto got = (*executor)->run({dense.tokens, positions, sequences, positions}, {});
  EXPECT_EQ(got.size(), dense.want.size());
  double error = 0, size = 0;
  Distance distance;
  for (uint32_t t = 0; t < count; ++t) {
    const auto row = got.subspan(128 * t, 128);
    const auto wanted = std::span(dense.want).subspan(128 * t, 128);
    for (size_t i = 0; i < 128; ++i) {
      error += std::pow(double(row[i]) - double(wanted[i]), 2);
      size += std::pow(double(wanted[i]), 2);
    }
    distance.divergence = std::max(distance.divergence, divergence(wanted, row));
  }
  distance.share = std::sqrt(error / size) / (2 * std::sqrt(256.0) * 0x1p-24);
  return distance;
}

TEST(LlamaDense, GivesTheLogitsOfLlamaCpp) {
  if (!Dense::here()) GTEST_SKIP() << Dense::logits_path() << " is not here";
  Dense dense;
  ASSERT_TRUE(dense.program) << dense.built.error().message;
  const Distance distance = run(dense);
  RecordProperty("share_of_limit", std::to_string(distance.share));
  EXPECT_TRUE(distance.share <= 1) << distance.share;
  EXPECT_TRUE(distance.divergence <= 1e-6) << distance.divergence;
}

// Every operation, the scalar scales and biases of both kinds among them, inside its bound.
TEST(LlamaDense, EveryOperationIsInsideItsBound) {
  if (!Dense::here()) GTEST_SKIP() << Dense::logits_path() << " is not here";
  Dense dense;
  ASSERT_TRUE(dense.program);
  op::ExecutorOptions options;
  options.threads = 2;
  options.context = 32;
  const auto executor = cpu::make_executor(*dense.program, options);
  const uint32_t count = uint32_t(dense.tokens.size());
  std::vector<uint32_t> positions(count), sequences(count, 0);
  for (uint32_t i = 0; i < count; ++i) positions[i] = i;
  judge::Replay replay(*dense.program, options);
  const op::Step step{dense.tokens, positions, sequences, positions};
  replay.begin_step(step);
  (*executor)->run(step, std::ref(replay));
  size_t scales = 0;
  for (const judge::OperationError& error : replay.results()) {
    EXPECT_GT(error.elements, 0u) << error.name;
    EXPECT_EQ(error.failures, 0u) << error.name << ": " << error.max_u << " u of " << error.limit_u;
    scales += error.kind == "scale";
  }
  EXPECT_EQ(scales, 2u * 7u);
}

/// The mirror: what the comparison is there to catch is far outside (a KL of 1e-6 sees none of the
/// first three: they give 1e-11).
TEST(LlamaDense, SmallFaultsDoNotPass) {
  if (!Dense::here()) GTEST_SKIP() << Dense::logits_path() << " is not here";
  const auto share_with = [](auto change) {
    Dense dense;
    change(dense);
    return run(dense).share;
  };
  EXPECT_GT(share_with([](Dense& d) { d.program->rope_tables[0].adjacent = false; }), 5);
  EXPECT_GT(share_with([](Dense& d) {
              op::RopeParameters plain;  // rope_freqs not applied
              plain.dimensions = 128;
              d.program->rope_tables[0] = op::make_rope(plain, true);
            }),
            5);
  EXPECT_GT(share_with([](Dense& d) {
              for (op::Operation& operation : d.program->operations)
                if (operation.name == "blk.1.gate_unscaled") operation.bias = op::none;
            }),
            5);
  EXPECT_GT(share_with([](Dense& d) {
              for (op::Operation& operation : d.program->operations)
                if (auto* norm = operation.as<op::RmsNorm>()) norm->eps *= 100;
            }),
            5);
}

}  // namespace
}  // namespace assay::tests
