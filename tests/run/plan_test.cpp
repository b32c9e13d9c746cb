// The plan that a GPU runs for a model of each architecture: a change is a decision, and shows here.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "gguf/file.h"
#include "gpu/plan.h"
#include "model/model.h"
#include "support/architecture_file.h"

namespace assay {
namespace {

struct Golden {
  const char* architecture;
  const char* model;  // in tests/data
};

class PlanGolden : public ::testing::TestWithParam<Golden> {};

// After a change on purpose: assay inspect --plan MODEL > tests/golden/plan_ARCHITECTURE.txt
TEST_P(PlanGolden, IsTheTextInTestsGolden) {
  const std::string tests = std::string(ASSAY_SOURCE_DIR) + "/tests/";
  const auto file = gguf::File::open(tests + "data/" + GetParam().model);
  ASSERT_TRUE(file) << file.error().message;
  const auto program = model::build(*file);
  ASSERT_TRUE(program) << program.error().message;
  std::ifstream golden(tests + "golden/plan_" + GetParam().architecture + ".txt");
  std::stringstream expected;
  expected << golden.rdbuf();
  EXPECT_EQ(gpu::text_of_plan(*program, gpu::make_plan(*program, true)), expected.str());
}

class PlanOf : public ::testing::TestWithParam<const char*> {};

// After a change on purpose: ASSAY_UPDATE_PLANS=1 build/release/test_run --gtest_filter='*PlanOf*'
TEST_P(PlanOf, ASmallModelIsTheTextInTestsGolden) {
  const assay::testing::ArchitectureProgram model(GetParam());
  const std::string text = gpu::text_of_plan(model.program, gpu::make_plan(model.program, true));
  const std::string path =
      std::string(ASSAY_SOURCE_DIR) + "/tests/golden/plan_" + GetParam() + ".txt";
  if (std::getenv("ASSAY_UPDATE_PLANS")) std::ofstream(path) << text;
  std::ifstream golden(path);
  std::stringstream expected;
  expected << golden.rdbuf();
  EXPECT_EQ(text, expected.str());
}

INSTANTIATE_TEST_SUITE_P(Architecture, PlanOf, ::testing::Values("qwen2", "qwen3", "phi3"),
                         [](const auto& golden) { return std::string(golden.param); });

INSTANTIATE_TEST_SUITE_P(Architecture, PlanGolden,
                         ::testing::Values(Golden{"llama", "kjv/kjv.gguf"}),
                         [](const auto& golden) { return golden.param.architecture; });

}  // namespace
}  // namespace assay
