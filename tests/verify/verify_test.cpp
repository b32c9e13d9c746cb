// verify passes what gives the contract's bits, and names what doesn't.
#include "verify/verify.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "base/sha256.h"
#include "fault/executor.h"
#include "fault/harness.h"
#include "op/kinds.h"
#include "quant/formats.h"
#include "run/device.h"
#include "verify/check.h"
#include "verify/report.h"
#include "verify/synthetic.h"

namespace assay::verify {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

Factory cpu(const std::string& isa = "") {
  return [isa](const op::Program& program, op::ExecutorOptions options) {
    if (!isa.empty()) options.isa = isa;
    return run::make_executor("cpu", program, options);
  };
}

Settings settings(Factory device) {
  Settings settings;
  settings.device = std::move(device);
  settings.plain = cpu("portable");
  return settings;
}

Report verified(const Settings& given) {
  const auto report = verify(given);
  if (!report) throw std::runtime_error(report.error().message);
  return *report;
}

/// Spoils one element of what a sink sees of the wanted operations; the executor's own values stay.
/// Or what a run without a sink returns, where the last operation is a wanted one.
using Wanted = std::function<bool(const op::Program&, const op::Operation&, const op::Step&)>;
using Spoil = std::function<void(std::vector<float>&)>;

class Spoiled final : public op::Executor {
 public:
  Spoiled(std::unique_ptr<op::Executor> inner, const op::Program& program, Wanted wanted,
          Spoil spoil, bool untraced)
      : inner_(std::move(inner)),
        program_(program),
        wanted_(std::move(wanted)),
        spoil_(std::move(spoil)),
        untraced_(untraced) {}
  std::span<const float> run(const op::Step& step, const op::Sink& sink) override {
    if (!sink || untraced_) {
      const auto last = inner_->run(step, sink);
      if (sink || !untraced_ || !wanted_(program_, program_.operations.back(), step)) return last;
      last_.assign(last.begin(), last.end());
      spoil_(last_);
      return last_;
    }
    return inner_->run(step, [&](const op::Operation& operation, std::span<const float> output) {
      std::vector<float> copy(output.begin(), output.end());
      if (wanted_(program_, operation, step)) spoil_(copy);
      sink(operation, copy);
    });
  }
  void truncate(uint32_t sequence, uint32_t position) override {
    inner_->truncate(sequence, position);
  }
  std::string device() const override { return "spoiled"; }
  std::string isa() const override { return ""; }
  std::string contract() const override { return inner_->contract(); }
  uint32_t threads() const override { return 1; }

 private:
  std::unique_ptr<op::Executor> inner_;
  const op::Program& program_;
  Wanted wanted_;
  Spoil spoil_;
  bool untraced_;
  std::vector<float> last_;
};

Factory spoiled(Wanted wanted, Spoil spoil, bool untraced = false) {
  return [=](const op::Program& program,
             const op::ExecutorOptions& options) -> Result<std::unique_ptr<op::Executor>> {
    auto inner = cpu()(program, options);
    if (!inner) return inner.error();
    return std::unique_ptr<op::Executor>(
        std::make_unique<Spoiled>(std::move(*inner), program, wanted, spoil, untraced));
  };
}

bool is_matmul(const op::Program& program, const op::Operation& operation, uint32_t type,
               uint64_t rows, uint64_t columns) {
  if (!operation.is<op::Matmul>()) return false;
  const op::Weight& weight = program.weights[operation.weight];
  return weight.type == type && weight.rows == rows && weight.columns == columns;
}

TEST(Verify, TheCpuPassesOnEveryPath) {
  Settings given = settings(cpu());
  for (const std::string& isa : run::instruction_sets("cpu")) given.paths.push_back({isa, 0});
  given.paths.push_back({"", 3});
  const Report report = verified(given);
  EXPECT_TRUE(report.pass) << report.sentence;
  EXPECT_THAT(report.sentence, StartsWith("PASS: "));
  EXPECT_EQ(report.formats.size(), 26u);  // quant::All
  std::set<std::string_view> kinds;
  for (const Row& row : report.rows) {
    kinds.insert(row.kind);
    EXPECT_GT(row.cases, 0u);
    EXPECT_GT(row.compared, row.elements);
    EXPECT_EQ(bits_of(row), "equal");
    EXPECT_TRUE(row.max_u <= row.limit_u);
    // a thousandth of the bound is reached, or nothing may be wrong: no bound is blind. relu rounds
    // nothing; its limit allows for the floor.
    EXPECT_TRUE(row.limit_u == 0 || row.kind == "relu" || row.max_u >= 1e-3 * row.limit_u)
        << row.kind << " " << row.format;
  }
  EXPECT_EQ(kinds.size(), op::kind_names().size());
}

/// The widest shapes that `--level full` adds, of every kind but products and attention, whose shapes
/// take minutes. (A GELU's tail times 1e4 once left its bound at a width of 509.)
TEST(Verify, KindsOfLevelFullAreInsideTheirBounds) {
  std::set<std::string> seen;
  for (const Case& one : synthetic_cases(Level::full)) {
    if (!one.name.starts_with("rows") && !one.name.starts_with("routers") &&
        !one.name.starts_with("norms of parts") && !one.name.starts_with("gates"))
      continue;
    seen.insert(one.name);
    const auto executor = cpu()(*one.program, options_for(one));
    ASSERT_TRUE(executor) << executor.error().message;
    Judge judge(one, options_for(one), 2);
    run(**executor, one, one.judged,
        [&](size_t, const Step& step, const StepOutputs& outputs) { judge.step(step, outputs); });
    for (const judge::OperationError& error : judge.results())
      EXPECT_EQ(error.failures, 0u)
          << one.name << ", " << error.kind << " " << error.name << ": " << error.max_u << " u of "
          << error.limit_u << " in step " << error.worst_step;
  }
  EXPECT_EQ(seen.size(), 4u);
}

TEST(Verify, AnExecutorOfAnotherMakePasses) {
  Settings given = settings([](const op::Program& program, const op::ExecutorOptions& options) {
    return Result<std::unique_ptr<op::Executor>>(fault::make_executor(program, options));
  });
  const Report report = verified(given);
  EXPECT_TRUE(report.pass) << report.sentence;
}

// One ulp in one element is inside every bound of a matmul: only the bits tell.
TEST(Verify, OneBitIsFoundAndNamed) {
  const Report report = verified(settings(spoiled(
      [](const op::Program& program, const op::Operation& operation, const op::Step& step) {
        return is_matmul(program, operation, quant::Q4_K::id, 257, 768) && step.tokens.size() == 9;
      },
      [](std::vector<float>& y) { y[4 * 257 + 100] = std::nextafter(y[4 * 257 + 100], 1e30f); })));
  EXPECT_FALSE(report.pass);
  // tokens 3 … 11 are the step of nine
  EXPECT_THAT(report.sentence, StartsWith("FAIL matmul Q4_K 257 x 768: token 7 row 100 is "));
  EXPECT_THAT(report.sentence, HasSubstr("in a step of 9 tokens"));
  for (const Row& row : report.rows) {
    const bool spoilt = row.kind == "matmul" && row.format == "Q4_K";
    EXPECT_EQ(row.pass, !spoilt) << row.kind << " " << row.format;
    EXPECT_EQ(row.differ, spoilt ? 2u : 0u);  // two schedules have a step of nine
  }
}

// What only users run, fused kernels perhaps, is compared too.
TEST(Verify, OneBitOfARunWithoutATraceIsFound) {
  const Report report = verified(settings(spoiled(
      [](const op::Program& program, const op::Operation& operation, const op::Step& step) {
        return is_matmul(program, operation, quant::Q4_K::id, 257, 768) && step.tokens.size() == 9;
      },
      [](std::vector<float>& y) { y[4 * 257 + 100] = std::nextafter(y[4 * 257 + 100], 1e30f); },
      true)));
  EXPECT_FALSE(report.pass);
  EXPECT_THAT(report.sentence, StartsWith("FAIL matmul Q4_K 257 x 768: token 7 row 100 is "));
  EXPECT_THAT(report.sentence, HasSubstr("in a step of 9 tokens, untraced"));
}

TEST(Verify, ABoundNamesStepAndElement) {
  const Report report = verified(settings(spoiled(
      [](const op::Program&, const op::Operation& operation, const op::Step& step) {
        return operation.is<op::Rope>() && step.tokens.size() == 33;
      },
      [](std::vector<float>& y) { y[5 * (y.size() / 33) + 7] += 1.0f; })));
  EXPECT_THAT(report.sentence, StartsWith("FAIL rope f32 3 heads of 64, 64 lanes turn adjacent: "
                                          "token 5 of 33 in step 3, row 7: "));
}

TEST(Verify, NanFails) {
  const Report report = verified(settings(
      spoiled([](const op::Program&, const op::Operation& operation,
                 const op::Step&) { return operation.is<op::Gate>(); },
              [](std::vector<float>& y) { y[0] = std::numeric_limits<float>::quiet_NaN(); })));
  EXPECT_FALSE(report.pass);
  EXPECT_THAT(report.sentence, HasSubstr("swiglu"));
}

struct Seeded {
  const char* fault;
  const char* sentence;
};
class VerifyFinds : public ::testing::TestWithParam<Seeded> {};

// Faults of src/fault, whose values go on into what follows.
TEST_P(VerifyFinds, ASeededFault) {
  const auto fault = fault::parse_fault(GetParam().fault);
  ASSERT_TRUE(fault) << fault.error().message;
  const Report report = verified(settings([&](const op::Program& program,
                                              const op::ExecutorOptions& options) {
    return Result<std::unique_ptr<op::Executor>>(fault::make_executor(program, options, *fault));
  }));
  EXPECT_FALSE(report.pass);
  EXPECT_THAT(report.sentence, StartsWith(GetParam().sentence));
}
INSTANTIATE_TEST_SUITE_P(Faults, VerifyFinds,
                         ::testing::Values(Seeded{"scale-high-bits", "FAIL matmul Q4_K "},
                                           Seeded{"minimum-ignored", "FAIL matmul Q4_1 "},
                                           Seeded{"k-tail", "FAIL matmul "},
                                           Seeded{"attention-path", "FAIL attention f16 "},
                                           Seeded{"kv-slot", "FAIL attention f16 "},
                                           Seeded{"gqa-modulo", "FAIL attention f16 4 heads on 2"},
                                           Seeded{"sum-order", "FAIL matmul "}),
                         [](const auto& i) { return "n" + std::to_string(i.index); });

TEST(Verify, AModelsOperationIsNamed) {
  Settings given = settings(spoiled([](const op::Program&, const op::Operation& operation,
                                       const op::Step&) { return operation.name == "blk.1.down"; },
                                    [](std::vector<float>& y) { y[3] = 1000; }));
  given.model = &fault::kjv().program;
  given.tokens = {1, 300, 391, 394, 1991, 948, 388, 298, 300};
  const Report report = verified(given);
  EXPECT_THAT(report.sentence, StartsWith("FAIL blk.1.down: matmul "));
  EXPECT_THAT(report.sentence, HasSubstr("row 3"));
}

TEST(Verify, AnotherContractIsRefused) {
  const auto report = verify(settings([](const op::Program& program, op::ExecutorOptions options) {
    options.contract = op::Contract::f32;
    return run::make_executor("cpu", program, options);
  }));
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().message, HasSubstr("runs the contract f32; verify proves assay/1"));
}

TEST(Verify, AMissingDeviceIsExit3) {
  const auto report =
      verify(settings([](const op::Program& program, const op::ExecutorOptions& options) {
        return run::make_executor("cuda", program, options);
      }));
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().exit, Exit::device);
}

/// Reads a sequence's first page in the place of the second, where a step has a page table.
class WrongPage final : public op::Executor {
 public:
  explicit WrongPage(std::unique_ptr<op::Executor> inner) : inner_(std::move(inner)) {}
  std::span<const float> run(const op::Step& step, const op::Sink& sink) override {
    std::vector<uint32_t> pages(step.pages.pages.begin(), step.pages.pages.end());
    for (size_t i = 1; i < pages.size(); i += step.pages.stride) pages[i] = pages[i - 1];
    op::Step altered = step;
    altered.pages.pages = pages;
    return inner_->run(altered, sink);
  }
  void truncate(uint32_t sequence, uint32_t position) override {
    inner_->truncate(sequence, position);
  }
  std::string device() const override { return "wrong page"; }
  std::string isa() const override { return ""; }
  std::string contract() const override { return inner_->contract(); }
  uint32_t threads() const override { return 1; }

 private:
  std::unique_ptr<op::Executor> inner_;
};

TEST(Verify, AWrongPageIsFound) {
  const Report report =
      verified(settings([](const op::Program& program,
                           op::ExecutorOptions options) -> Result<std::unique_ptr<op::Executor>> {
        options.threads = 1;  // threads would write the same place in one step
        auto inner = cpu()(program, options);
        if (!inner) return inner.error();
        return std::unique_ptr<op::Executor>(std::make_unique<WrongPage>(std::move(*inner)));
      }));
  EXPECT_FALSE(report.pass);
  EXPECT_THAT(report.sentence, StartsWith("FAIL attention f16 "));
}

// Whatever machine and compiler: the bits that the emulator gave where the table was made.
TEST(Stored, TheTableIsWholeAndTheCpusBitsAreIts) {
  const auto now = make_stored(settings(cpu()));
  ASSERT_TRUE(now) << now.error().message;
  const Stored& stored = stored_bits();
  EXPECT_EQ(stored.made_by, "emulated");
  EXPECT_EQ(stored.contract, now->contract);
  EXPECT_EQ(stored.level, Level::quick);
  ASSERT_EQ(stored.rows.size(), now->rows.size());
  for (size_t i = 0; i < stored.rows.size(); ++i) {
    EXPECT_EQ(stored.rows[i].kind, now->rows[i].kind);
    EXPECT_EQ(stored.rows[i].format, now->rows[i].format);
    EXPECT_EQ(stored.rows[i].sha256, now->rows[i].sha256)
        << stored.rows[i].kind << " " << stored.rows[i].format;
  }
}

TEST(Stored, TheEmulatorsBitsAreTheTables) {
  Settings given = settings([](const op::Program& program, const op::ExecutorOptions& options) {
    return run::make_executor("emulated", program, options);
  });
  const auto now = make_stored(given);
  ASSERT_TRUE(now) << now.error().message;
  EXPECT_EQ(to_source(*now), to_source(stored_bits()));
}

TEST(Stored, AnotherHashFailsAndNamesTheRow) {
  Stored altered = stored_bits();
  for (StoredRow& row : altered.rows)
    if (row.kind == "matmul" && row.format == "Q5_K") row.sha256.back() ^= 1;
  Settings given = settings(cpu());
  given.stored = &altered;
  const Report report = verified(given);
  EXPECT_FALSE(report.pass);
  EXPECT_THAT(report.sentence, StartsWith("FAIL matmul Q5_K: the SHA-256 of its outputs is "));
  for (const Row& row : report.rows) {
    const bool spoilt = row.kind == "matmul" && row.format == "Q5_K";
    EXPECT_EQ(stored_of(row), spoilt ? "differ" : "equal");
    EXPECT_EQ(row.pass, !spoilt);
    EXPECT_EQ(bits_of(row), "equal");  // of the live comparison
  }
  EXPECT_THAT(certificate(report, given, {}),
              HasSubstr(fmt::format("stored bits: {} of {} rows equal, 1 differ, made by emulated",
                                    stored_bits().rows.size() - 1, stored_bits().rows.size())));
}

// Neither an absent row nor another level's or contract's table counts as equal.
TEST(Stored, WhatHasNoHashIsCounted) {
  Stored altered = stored_bits();
  altered.rows.erase(altered.rows.begin());
  Settings given = settings(cpu());
  given.stored = &altered;
  const Report report = verified(given);
  EXPECT_TRUE(report.pass) << report.sentence;
  EXPECT_THAT(
      table(report, altered),
      HasSubstr(fmt::format("stored bits: {} of {} rows equal, 1 have no stored hash, made by",
                            stored_bits().rows.size() - 1, stored_bits().rows.size())));
  EXPECT_EQ(stored_of(report.rows.front()), "none");

  const StoredRow& row = stored_bits().rows.back();
  EXPECT_NE(find(stored_bits(), "assay/1", Level::quick, row.kind, row.format), nullptr);
  EXPECT_EQ(find(stored_bits(), "assay/1", Level::full, row.kind, row.format), nullptr);
  EXPECT_EQ(find(stored_bits(), "assay/2", Level::quick, row.kind, row.format), nullptr);
}

TEST(Certificate, EndsWithTheDigestOfItsLines) {
  const Circumstances around{"0.1", "abc", "today", "a cpu", "an os", 2, "", ""};
  Report report;
  report.sentence = "PASS: nothing";
  report.rows.push_back({.kind = "add",
                         .format = "f32",
                         .cases = 1,
                         .elements = 2,
                         .max_u = 0.5,
                         .limit_u = 1,
                         .compared = 2,
                         .pass = true,
                         .sha256 = "",
                         .stored = ""});
  const std::string text = certificate(report, {}, around);
  const size_t last = text.rfind('\n', text.size() - 2) + 1;
  const std::string above = text.substr(0, last);
  const std::string hash =
      sha256_hex({reinterpret_cast<const uint8_t*>(above.data()), above.size()});
  EXPECT_EQ(text.substr(last), fmt::format("sha256 of the lines above: {}\n", hash));
  for (const char* needed : {"PASS: nothing", "commit abc", "today", "a cpu, 2 cores, an os"})
    EXPECT_THAT(above, HasSubstr(needed));
}

}  // namespace
}  // namespace assay::verify
