// The program's own kernels: their text, and a model run through the queue.
#include <fmt/format.h>

#include <set>

#include "../../cpu/tiny_program.h"
#include "device/arithmetic.h"
#include "device/emulated/kernels.h"
#include "gpu/executor.h"
#include "machine.h"

namespace assay::metal::tests {
namespace {

using MetalKernels = MetalTest;

TEST(KernelText, HoldsEachKernelOnceInTheFileThatNamesIt) {
  std::set<std::string_view> names;
  for (const KernelFile& file : kernel_files())
    for (std::string_view kernel : file.kernels) {
      EXPECT_TRUE(names.insert(kernel).second) << kernel;
      EXPECT_NE(file.text.find(fmt::format("\nK_KERNEL({},", kernel)), std::string_view::npos)
          << kernel;
    }
  for (const KernelEntry* entry : emulated::all_kernels()) {
    if (std::string_view(entry->name).starts_with("metal_test_")) continue;
    EXPECT_TRUE(names.contains(entry->name)) << entry->name << " is not in list.h's files";
  }
  EXPECT_GE(names.size(), 15u);
}

TEST(KernelText, IsOneTextWithItsPlacesAndNoContraction) {
  for (const KernelFile& file : kernel_files()) {
    EXPECT_EQ(file.text.data()[file.text.size()], '\0');
    EXPECT_EQ(file.text.find("#include \""), std::string_view::npos) << file.name;
    EXPECT_TRUE(
        file.text.starts_with("#include <metal_stdlib>\n#pragma METAL fp contract(off)\n"
                              "#pragma clang fp contract(off)\n#line 1 \""))
        << file.name;
    EXPECT_NE(file.text.find("\n#line 1 \"src/" + std::string(file.name) + "\"\n"),
              std::string_view::npos);
  }
}

TEST_F(MetalKernels, TheProbeOfTheArithmeticRuns) {
  QueueOptions options;
  options.files = kernel_files();
  const Status sound = device::prove_arithmetic(open(options));
  EXPECT_EQ(message_of(sound), "");
  ASSERT_EQ(fake::world().ran.size(), 1u);
  EXPECT_EQ(fake::world().ran[0].kernel, "probe");
}

/// A model on the queue, its launches run by the fake: the cpu's bits, in any cut.
TEST_F(MetalKernels, AModelHasTheBitsOfTheCpu) {
  using assay::tests::run_cut;
  const assay::tests::TinyProgram tiny(assay::tests::mixed);
  const auto options = assay::tests::options_with(1, "portable");
  const auto want = run_cut(*assay::tests::made(tiny.program, options), {14});
  for (const bool sets : {true, false}) {
    machine().residency_sets = sets;
    QueueOptions queue_options;
    queue_options.files = kernel_files();
    queue_options.launches = 5;
    auto queue = MetalQueue::open(queue_options);
    ASSERT_EQ(message_of(queue), "");
    auto executor =
        gpu::make_executor("metal", std::move(*queue), tiny.program, assay::tests::options_with(1));
    ASSERT_EQ(message_of(executor), "");
    const auto got = run_cut(**executor, {1, 9, 2, 1, 1});
    ASSERT_EQ(got.size(), want.size());
    EXPECT_EQ(std::memcmp(got.data(), want.data(), got.size() * sizeof(float)), 0);
    EXPECT_EQ((*executor)->isa(), "Fake M9 (macOS 15.1.0)");
  }
}

}  // namespace
}  // namespace assay::metal::tests
