// What a machine must be, and what its compiler may say.
#include "device/metal/queue.h"
#include "machine.h"

namespace assay::metal::tests {
namespace {

using Opening = MetalTest;

TEST_F(Opening, NamesTheDeviceAndTheSystem) {
  EXPECT_EQ(open().name(), "Fake M9 (macOS 15.1.0)");
}

TEST_F(Opening, WithoutAGpuIsRefused) {
  machine().has_gpu = false;
  EXPECT_EQ(refusal(),
            "Metal finds no GPU on this machine (a virtual machine or a session without one)");
}

TEST_F(Opening, AGpuBeforeTheM1IsRefused) {
  machine().facts.name = "Intel Iris Plus";
  machine().facts.has_family = false;
  EXPECT_EQ(refusal(),
            "Intel Iris Plus is not of the M1's family or later, which the kernels need");
}

TEST_F(Opening, ASystemWithoutAddressesIsRefused) {
  machine().facts.system = "macOS 12.6.1";
  machine().facts.has_addresses = false;
  EXPECT_EQ(refusal(), "macOS 12.6.1 is too old: the kernels need macOS 13 or later");
}

TEST_F(Opening, ACompileErrorNamesTheSourceLine) {
  machine().refused_text = "metal_test_other";
  machine().compile_error =
      "program_source:3:9: warning: unused variable 'n'\n"
      "src/kernel/words.h:41:3: error: use of undeclared identifier 'simd_summ'\n"
      "  simd_summ(x);\n  ^\n"
      "src/kernel/words.h:60:1: error: expected '}'\n";
  EXPECT_EQ(refusal(),
            "the Metal compiler refused test/other.h at src/kernel/words.h:41:3: use of undeclared "
            "identifier 'simd_summ'");
}

TEST_F(Opening, ACompileErrorWithoutALineIsKeptWhole) {
  machine().refused_text = "metal_test_step";
  machine().compile_error = "Compiler encountered an internal error.\n";
  EXPECT_EQ(refusal(),
            "the Metal compiler refused test/step.h: Compiler encountered an internal error");
}

TEST_F(Opening, CompilesLibrariesAtOnceAndPipelinesWhenAsked) {
  open();
  EXPECT_EQ(fake::count("pipeline metal_test_step"), 0u);
  const device::Address x = words();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(message_of(step(x, x, 1, 0)), "");
  EXPECT_EQ(fake::count("pipeline metal_test_step"), 1u);
  EXPECT_EQ(fake::count("pipeline metal_test_other"), 0u);
}

#if defined(ASSAY_NO_METAL)
TEST(NoMetal, SaysWhy) {
  const auto queue = make_metal_queue();
  ASSERT_FALSE(queue);
  EXPECT_EQ(queue.error().message, ASSAY_NO_METAL);
  EXPECT_THAT(queue.error().message, testing::StartsWith("this build has no Metal: "));
  EXPECT_EQ(queue.error().exit, Exit::device);
}
#endif

}  // namespace
}  // namespace assay::metal::tests
