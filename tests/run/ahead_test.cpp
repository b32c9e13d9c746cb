// A device that draws by itself draws what the host's sampler would, token after token.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "../cpu/tiny_program.h"
#include "../gpu/queues.h"
#include "base/mix64.h"
#include "run/sampler.h"

namespace assay::run {
namespace {

using tests::all_schedules;

constexpr uint32_t vocabulary = 300;
constexpr float nan_logit = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

/// Makes a program whose logits after a token are that token's row of a table (tokens, columns).
void make_lookup(op::Program& program, std::span<const float> table, uint32_t columns) {
  program.vocabulary = program.width = columns;
  op::Weight weight;
  weight.name = "table", weight.type = 0;
  weight.rows = table.size() / columns, weight.columns = columns;
  weight.data = {reinterpret_cast<const uint8_t*>(table.data()), table.size_bytes()};
  const uint32_t w = program.add_weight(weight);
  const uint32_t x = program.add_value("embd", columns);
  program.add_operation({op::Kind::embed, "embd", {}, x, w, op::none, op::none, 0, 0});
  const uint32_t y = program.add_value("logits", columns, true);
  program.add_operation({op::Kind::select_rows, "logits", {x}, y, op::none, op::none, op::none});
  program.assign_buffers();
}

/// A program whose logits after a token are that token's row of a table: flat, steep, with many
/// ties, with infinities; after token 299 there is nothing to draw from.
struct Chain {
  op::Program program;
  std::vector<float> table;

  Chain() : table(vocabulary * vocabulary) {
    for (uint32_t row = 0; row < vocabulary; ++row)
      for (uint32_t i = 0; i < vocabulary; ++i) {
        const auto random = float(int32_t(mix64(row * 1000 + i) >> 40)) / float(1 << 24);
        float& logit = table[row * vocabulary + i];
        logit = row % 4 == 0 ? random : row % 4 == 1 ? 20 * random : std::floor(8 * random);
        if (row % 4 == 3 && i % 7 == 1) logit = i % 2 ? -infinity : nan_logit;
        if (row % 16 == 3 && i % 50 == 2) logit = infinity;
        if (i == 299) logit = row == 298 ? 1e3f : nan_logit;
        if (row == 299) logit = i % 2 ? -infinity : nan_logit;
      }
    make_lookup(program, table, vocabulary);
  }
  Chain(const Chain&) = delete;

  std::span<const float> row(int32_t token) const {
    return std::span(table).subspan(uint64_t(token) * vocabulary, vocabulary);
  }
};

std::vector<SamplerOptions> all_options() {
  std::vector<SamplerOptions> list;
  const auto add = [&](float temperature, int32_t top_k, float top_p, float min_p) {
    SamplerOptions options;
    options.temperature = temperature, options.top_k = top_k;
    options.top_p = top_p, options.min_p = min_p;
    options.seed = (uint64_t(list.size() + 1) << 32) + 77 * list.size();
    list.push_back(options);
  };
  add(0.0f, 40, 0.95f, 0.05f);  // greedy
  add(0.8f, 40, 0.95f, 0.05f);  // the defaults
  add(1.0f, 256, 1.0f, 0.0f);
  add(1.0f, 200, 0.999f, 0.0f);
  add(3.0f, 33, 0.5f, 0.0f);
  add(0.3f, 32, 1.0f, 0.7f);
  add(1.0f, 31, 0.0f, 1.0f);
  add(1000.0f, 64, 0.3f, 0.001f);
  add(1e-38f, 2, 1.0f, 0.0f);
  add(1.0f, 200, 1.0f, 0.8f);  // leaves some sixty of flat logits
  return list;
}

struct Sequence {
  int32_t token;
  uint32_t position;
  Sampler sampler;
};

/// What the host draws, (count, sequences); −1 once there is nothing to draw from.
std::vector<int32_t> drawn_by_host(const Chain& chain, const std::vector<Sequence>& sequences,
                                   uint32_t count) {
  std::vector<int32_t> drawn(count * sequences.size());
  for (size_t s = 0; s < sequences.size(); ++s) {
    int32_t token = sequences[s].token;
    for (uint32_t i = 0; i < count && token >= 0; ++i)
      drawn[i * sequences.size() + s] = token =
          sequences[s].sampler.sample(chain.row(token), sequences[s].position + 1 + i);
  }
  return drawn;
}

std::vector<int32_t> drawn_by_device(op::Executor& executor, const std::vector<Sequence>& sequences,
                                     uint32_t count) {
  std::vector<int32_t> tokens;
  std::vector<uint32_t> positions, numbers;
  std::vector<op::Drawing> drawings;
  for (const Sequence& one : sequences) {
    tokens.push_back(one.token);
    positions.push_back(one.position);
    numbers.push_back(uint32_t(numbers.size()));
    drawings.push_back(one.sampler.drawing());
  }
  return executor.run_ahead({tokens, positions, numbers, numbers}, drawings, count);
}

op::ExecutorOptions options_for(uint32_t sequences) {
  op::ExecutorOptions options;
  options.context = 100000, options.sequences = sequences;
  return options;
}

TEST(RunAhead, DrawsWhatTheHostDraws) {
  const Chain chain;
  for (const emulated::QueueOptions& queue : all_schedules()) {
    const auto executor = tests::emulated_executor(chain.program, options_for(1), queue);
    uint32_t runs = 0;
    for (const SamplerOptions& options : all_options())
      for (int32_t token : {0, 1, 2, 3, 7, 18, 19, 298}) {
        const uint32_t count = ++runs % 3 == 0 ? 8 : runs % 3;
        const std::vector<Sequence> one{{token, 1001 * runs, Sampler(options)}};
        ASSERT_EQ(executor->most_ahead(one[0].sampler.drawing()), 8u);
        const auto want = drawn_by_host(chain, one, count);
        const auto got = drawn_by_device(*executor, one, count);
        // After a −1 the device's are of no meaning.
        for (size_t i = 0; i < count && (i == 0 || want[i - 1] >= 0); ++i)
          ASSERT_EQ(got[i], want[i]) << "token " << token << ", draw " << i << " of " << count
                                     << ", top-k " << options.top_k;
      }
  }
}

// Of up to eight sequences a step is recorded, of more it is not.
TEST(RunAhead, DrawsOfEachSequenceByItsOwnRule) {
  const Chain chain;
  for (const uint32_t count : {2u, 9u}) {
    const auto executor = tests::emulated_executor(chain.program, options_for(count));
    std::vector<Sequence> sequences;
    for (uint32_t s = 0; s < count; ++s)
      sequences.push_back({int32_t(4 * s + 1), 90 * s, Sampler(all_options()[s])});
    for (int i = 0; i < 3; ++i) {  // the second and third time as a replay, from where it stopped
      const auto want = drawn_by_host(chain, sequences, 8);
      EXPECT_EQ(drawn_by_device(*executor, sequences, 8), want);
      for (uint32_t s = 0; s < count; ++s) {
        sequences[s].token = want[7 * count + s];
        sequences[s].position += 8;
      }
    }
  }
}

// With a cache, positions and sequences: two sequences of a llama, in the middle of their texts.
TEST(RunAhead, ContinuesAModelAsStepsDo) {
  const tests::TinyProgram tiny(quant::Q4_K::id);
  const auto ahead = tests::emulated_executor(tiny.program, tests::options_with(1));
  const auto alone = tests::made(tiny.program, tests::options_with(1));
  std::vector<Sequence> sequences;
  for (uint32_t s = 0; s < 2; ++s) {
    const auto options = all_options()[s];
    sequences.push_back({5, 60 + 10 * s, Sampler(options)});
    for (op::Executor* executor : {ahead.get(), alone.get()})
      tests::run_cut(*executor, {60 + 10 * s}, s);
  }
  for (const uint32_t count : {1u, 8u, 8u}) {
    const auto got = drawn_by_device(*ahead, sequences, count);
    for (uint32_t i = 0; i < count; ++i) {
      tests::Tokens tokens;
      for (uint32_t s = 0; s < 2; ++s) tokens.add(sequences[s].token, sequences[s].position++, s);
      const auto logits = tests::logits_of(*alone, tokens);
      for (uint32_t s = 0; s < 2; ++s) {
        const auto row = std::span(logits).subspan(s * tests::vocabulary, tests::vocabulary);
        sequences[s].token = sequences[s].sampler.sample(row, sequences[s].position);
        ASSERT_EQ(got[2 * i + s], sequences[s].token) << i << " of " << count;
      }
    }
  }
}

// 5000 logits are three groups, whose best are one: two passes.
TEST(RunAhead, TheBestOfManyLogitsAreFoundInPasses) {
  std::vector<float> table(2 * 5000);
  for (size_t i = 0; i < table.size(); ++i) table[i] = float(mix64(i) % 1000);
  op::Program program;
  make_lookup(program, table, 5000);
  const auto executor = tests::emulated_executor(program, options_for(1));
  const int32_t token = 1;
  const uint32_t zero = 0;
  for (const uint32_t most : {1u, 40u, 256u}) {
    const auto got = executor->run_best({{&token, 1}, {&zero, 1}, {&zero, 1}, {&zero, 1}}, most)[0];
    const auto want = op::best_of(std::span(table).subspan(5000), most);
    ASSERT_EQ(got.size(), most);
    for (uint32_t i = 0; i < most; ++i) EXPECT_EQ(got[i].id, want[i].id) << i << " of " << most;
  }
}

TEST(RunAhead, IsNotForWhatTheKernelsDoNotTake) {
  const Chain chain;
  const auto executor = tests::emulated_executor(chain.program, options_for(1));
  op::Drawing drawing{0.8f, 0.95f, 0.05f, 256, 1};
  EXPECT_EQ(executor->most_ahead(drawing), 8u);
  drawing.top_k = 257;
  EXPECT_EQ(executor->most_ahead(drawing), 0u);
  drawing.top_k = 0;  // all
  EXPECT_EQ(executor->most_ahead(drawing), 0u);
}

}  // namespace
}  // namespace assay::run
