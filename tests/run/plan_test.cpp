// The plan that a GPU runs for a model of each architecture: a change is a decision, and shows here.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "gguf/file.h"
#include "gpu/plan.h"
#include "model/model.h"

namespace assay {
namespace {

struct Golden {
  const char* architecture;
  const char* model;  // in tests/data
};

class PlanGolden : public testing::TestWithParam<Golden> {};

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

INSTANTIATE_TEST_SUITE_P(Architecture, PlanGolden, testing::Values(Golden{"llama", "kjv/kjv.gguf"}),
                         [](const auto& golden) { return golden.param.architecture; });

}  // namespace
}  // namespace assay
