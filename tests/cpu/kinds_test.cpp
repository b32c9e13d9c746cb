// Every kind of operation in one small program: One Answer, the scalar contract, the judge's bounds.
#include "op/kinds.h"
#include "contract_replay.h"
#include "judge/replay.h"
#include "support/kinds_program.h"

namespace assay::tests {
namespace {

constexpr uint32_t length = 90;  // past one chunk of keys and past both windows
static_assert(KindsProgram::vocabulary == vocabulary, "token() gives ids of both programs");

MakeMatrix random_blocks(uint32_t type) {
  return [type, random = Random(type + 1), count = size_t(0)](uint64_t rows, uint64_t columns,
                                                              float size) mutable {
    const uint32_t one = type == mixed ? all_formats[count++ % all_formats.size()] : type;
    return MadeMatrix{one, model_matrix(one, rows, columns, size, random).bytes};
  };
}

uint32_t width_of(uint32_t type) {
  return type == mixed || quant::info(type).block_size == 256 ? 256 : 64;
}

class EveryKind : public testing::TestWithParam<uint32_t> {
 protected:
  KindsProgram kinds_{random_blocks(GetParam()), width_of(GetParam())};

  std::vector<float> run(const op::ExecutorOptions& options,
                         const std::vector<uint32_t>& pieces = {length}, uint32_t sequence = 0) {
    return run_cut(*made(kinds_.program, options), pieces, sequence);
  }
};

TEST_P(EveryKind, StandsInTheProgram) {
  std::vector<bool> seen(op::kind_count, false);
  for (const op::Operation& operation : kinds_.program.operations)
    seen[size_t(operation.kind())] = true;
  for (size_t i = 0; i < seen.size(); ++i) EXPECT_TRUE(seen[i]) << op::row_of(op::Kind(i)).name;
}

TEST_P(EveryKind, HasOneAnswerForAnyThreadsInstructionSetAndDenormals) {
  const auto want = run(options_with(1));
  ASSERT_EQ(want.size(), size_t(length) * vocabulary);
  for (float y : want) ASSERT_TRUE(std::isfinite(y));
  for (const cpu::Kernels* kernels : all_kernels())
    for (uint32_t threads : {1u, 2u, 5u})
      for (bool flush : {false, true}) {
        auto options = options_with(threads, kernels->isa);
        options.flush_denormals = flush;
        ASSERT_EQ(difference(run(options), want), "")
            << kernels->isa << " threads " << threads << (flush ? " flushed" : "");
      }
}

TEST_P(EveryKind, HasOneAnswerForAnyCutAndCompany) {
  const auto want = run(options_with(2)), other = run(options_with(1), {50}, 1);
  ASSERT_EQ(difference(run(options_with(2), std::vector<uint32_t>(length, 1)), want), "");
  ASSERT_EQ(difference(run(options_with(3), {1, 40, 2, 30, 17}), want), "");
  Tokens both;  // two sequences in turns
  for (uint32_t i = 0; i < length; ++i)
    for (uint32_t s = 0; s < 2; ++s)
      if (s == 0 || i < 50) both.add(token(i, s), i, s);
  auto executor = made(kinds_.program, options_with(2));
  const auto logits = logits_of(*executor, both);
  for (size_t row = 0; row < both.ids.size(); ++row)
    ASSERT_EQ(difference(std::span(logits).subspan(row * vocabulary, vocabulary),
                         std::span(both.sequences[row] ? other : want)
                             .subspan(both.positions[row] * vocabulary, vocabulary)),
              "")
        << "sequence " << both.sequences[row] << " position " << both.positions[row];
}

TEST_P(EveryKind, IsTheContractsOfItsInputs) {
  Tokens tokens;
  for (uint32_t i = 0; i < length; ++i) tokens.add(token(i), i, 0, i % 2 == 0);
  ContractReplay replay(kinds_.program, tokens);
  auto executor = made(kinds_.program, options_with(3));
  logits_of(*executor, tokens, [&](const op::Operation& operation, std::span<const float> output) {
    EXPECT_EQ(difference(output, replay.want(operation)), "") << operation.name;
    replay.keep(operation, output);
  });
}

/// Inside the judge's bounds; and of each kind the worst element comes within a thousandth of its
/// bound, so that no bound is too loose to see anything.
TEST_P(EveryKind, IsInsideTheJudgesBoundsWhichAreNotLoose) {
  for (const op::Contract contract : {op::Contract::assay1, op::Contract::f32}) {
    auto options = options_with(2);
    options.contract = contract;
    judge::Replay replay(kinds_.program, options);
    auto executor = made(kinds_.program, options);
    for (const auto& [first, last] : {std::pair{0u, 80u}, {80u, 81u}, {81u, length}}) {
      Tokens tokens;
      for (uint32_t i = first; i < last; ++i) tokens.add(token(i), i, 0);
      replay.begin_step(tokens.step());
      executor->run(tokens.step(), std::ref(replay));
    }
    for (const judge::OperationError& error : judge::worst_by_kind(replay.results())) {
      EXPECT_EQ(error.failures, 0u)
          << error.name << ": " << error.max_u << " u of " << error.limit_u << " at token "
          << error.worst_token << " row " << error.worst_row;
      if (error.kind != "relu") {  // which rounds nothing but the floor
        EXPECT_GE(error.max_u, error.limit_u / 1000) << error.name;
      }
      testing::Test::RecordProperty(
          std::string(error.kind),
          std::to_string(error.max_u) + " u of " + std::to_string(error.limit_u));
    }
  }
}

std::string format_name(const testing::TestParamInfo<uint32_t>& info) {
  return info.param == mixed ? "Mixed" : std::string(quant::info(info.param).name);
}
INSTANTIATE_TEST_SUITE_P(Formats, EveryKind,
                         testing::Values(quant::F32::id, quant::Q8_0::id, quant::Q4_K::id, mixed),
                         format_name);

}  // namespace
}  // namespace assay::tests
