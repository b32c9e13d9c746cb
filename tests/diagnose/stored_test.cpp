// What an engine's trace may hold in place of the result: fewer bits of it, or the product before its
// bias.
#include <gmock/gmock.h>

#include <bit>
#include <cstring>

#include "diagnose/diagnose.h"
#include "diff/support.h"
#include "fault/executor.h"
#include "support/architecture_file.h"

namespace assay::diagnose {
namespace {

using Alter = std::function<void(const op::Operation&, std::vector<float>&)>;

/// The cause in a trace of one step whose outputs were altered after they were computed.
diff::Report report_of(const op::Program& program, const Alter& alter) {
  op::ExecutorOptions options;
  options.context = 64;
  auto executor = fault::make_executor(program, options, {});
  if (!executor) throw std::runtime_error("no executor");
  trace::Recorder recorder(program, {});
  std::vector<int32_t> tokens;
  std::vector<uint32_t> positions, sequences(7, 0), selected;
  for (uint32_t i = 0; i < 7; ++i) {
    tokens.push_back(int32_t(1 + 37 * i));
    positions.push_back(i);
    selected.push_back(i);
  }
  const op::Step step{tokens, positions, sequences, selected};
  recorder.begin_step(step);
  const op::Sink sink = [&](const op::Operation& operation, std::span<const float> output) {
    std::vector<float> copy(output.begin(), output.end());
    alter(operation, copy);
    recorder(operation, copy);
  };
  executor->run(step, sink);
  const diff::TemporaryFile file("stored");
  if (const auto written = recorder.write(file.path, {{"engine", "assay fault"}}); !written)
    throw std::runtime_error(written.error().message);
  const auto trace = trace::Trace::open(file.path);
  if (!trace) throw std::runtime_error(trace.error().message);
  auto report = diff::judge_alone(program, *trace);
  if (!report) throw std::runtime_error(report.error().message);
  if (const auto done = explain(program, *trace, *trace, *report); !done)
    throw std::runtime_error(done.error().message);
  return std::move(*report);
}

TEST(Stored, AResultKeptAsBf16OrF16IsNamed) {
  const auto kept = [](auto round) {
    return [=](const op::Operation& operation, std::vector<float>& out) {
      if (operation.name == "blk.2.attn_norm")
        for (float& x : out) x = round(x);
    };
  };
  const auto to_bf16 = [](float x) {
    const auto bits = std::bit_cast<uint32_t>(x);
    return std::bit_cast<float>((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000);
  };
  const auto bf16 = report_of(diff::kjv_program(), kept(to_bf16));
  ASSERT_TRUE(bf16.cause) << bf16.sentence;
  EXPECT_EQ(bf16.first->operation, "blk.2.attn_norm");
  EXPECT_EQ(bf16.cause->id, "bf16-result") << bf16.sentence;
  const auto f16 = report_of(diff::kjv_program(),
                             kept([](float x) { return float(judge::round_to_f16(double(x))); }));
  ASSERT_TRUE(f16.cause) << f16.sentence;
  EXPECT_EQ(f16.cause->id, "f16-result") << f16.sentence;
}

TEST(Stored, TheProductBeforeItsBiasIsNamed) {
  const testing::ArchitectureProgram qwen2("qwen2");
  const op::Program& program = qwen2.program;
  const auto report = report_of(program, [&](const op::Operation& operation, auto& out) {
    if (operation.name != "blk.1.q") return;
    std::vector<float> bias(program.bias_of(operation)->columns);
    std::memcpy(bias.data(), program.bias_of(operation)->data.data(), bias.size() * sizeof(float));
    for (size_t i = 0; i < out.size(); ++i) out[i] -= bias[i % bias.size()];
  });
  ASSERT_TRUE(report.cause) << report.sentence;
  EXPECT_EQ(report.first->operation, "blk.1.q");
  EXPECT_EQ(report.cause->id, "bias") << report.sentence;
}

}  // namespace
}  // namespace assay::diagnose
