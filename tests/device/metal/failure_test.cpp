// What is refused before it runs, and what fails when it does.
#include "machine.h"

namespace assay::metal::tests {
namespace {

using MetalFailure = MetalTest;

TEST_F(MetalFailure, AnUnknownKernelBreaksTheQueue) {
  open();
  const device::Address x = words();
  EXPECT_EQ(message_of(step(x, x, 1, 0, "matmull")), "Fake M9 has no kernel 'matmull'");
  EXPECT_EQ(message_of(step(x, x, 1, 0)), "Fake M9 has no kernel 'matmull'");
}

TEST_F(MetalFailure, ArgumentsOfAnotherSizeAreRefused) {
  open();
  EXPECT_EQ(message_of(queue_->launch({"metal_test_step", 1, 1, 32, std::vector<uint8_t>(16)})),
            "kernel 'metal_test_step' takes 24 bytes of arguments, not 16");
}

TEST_F(MetalFailure, GroupsThatAreNotWholeSimdsAreRefused) {
  for (uint32_t size : {0u, 31u, 33u}) {
    open();
    EXPECT_EQ(message_of(queue_->launch({"metal_test_step", 1, 1, size, std::vector<uint8_t>(24)})),
              "kernel 'metal_test_step' was asked for in groups of " + std::to_string(size) +
                  " threads, not whole simds of 32");
  }
}

TEST_F(MetalFailure, AGroupLargerThanThePipelineTakesIsRefused) {
  machine().most_threads = 512;
  open();
  EXPECT_EQ(
      message_of(queue_->launch({"metal_test_step", 1, 1, 544, std::vector<uint8_t>(24)})),
      "Fake M9 runs kernel 'metal_test_step' in groups of at most 512 threads; 544 were asked "
      "for");
}

TEST_F(MetalFailure, AnotherSimdWidthIsRefused) {
  machine().simd_width = 16;
  open();
  const device::Address x = words();
  EXPECT_EQ(message_of(step(x, x, 1, 0)),
            "Fake M9 runs the kernel 'metal_test_step' 16 threads wide; it is written for 32");
}

TEST_F(MetalFailure, APipelineThatCannotBeMadeIsRefused) {
  machine().pipeline_error = "Threadgroup memory size (40960) exceeds the maximum (32768)";
  open();
  const device::Address x = words();
  EXPECT_EQ(message_of(step(x, x, 1, 0)),
            "Fake M9 cannot run the kernel 'metal_test_step' of test/step.h: Threadgroup memory "
            "size (40960) exceeds the maximum (32768)");
}

TEST_F(MetalFailure, AFaultInTheMiddleNamesItsKernelsAndStaysSaid) {
  machine().faulty_commands = 2;
  machine().fault = Fault::page_fault;
  QueueOptions options = usual();
  options.launches = 4;
  open(options);
  const device::Address x = words();
  for (int i = 0; i < 11; ++i)
    EXPECT_EQ(message_of(step(x, x, 1, 1, i == 7 ? "metal_test_other" : "metal_test_step")), "");
  const std::string sentence =
      "Fake M9: commands (4 kernels from 'metal_test_step' to 'metal_test_other') touched memory "
      "that is not the device's (Metal's code 3: the fake's fault)";
  EXPECT_EQ(message_of(queue_->wait()), sentence);
  EXPECT_EQ(queue_->work().command_buffers, 1u);
  std::vector<uint8_t> byte(1);
  EXPECT_EQ(message_of(queue_->wait()), sentence);
  EXPECT_EQ(message_of(queue_->download(x, byte)), sentence);
  EXPECT_EQ(message_of(queue_->begin_recording()), sentence);
  EXPECT_EQ(message_of(queue_->end_recording()), sentence);
  EXPECT_EQ(message_of(queue_->replay(0)), sentence);
}

TEST_F(MetalFailure, AFaultIsMetByTheLaunchThatFindsTooMuchInFlight) {
  machine().faulty_commands = 1;
  machine().fault = Fault::timeout;
  QueueOptions options = usual();
  options.launches = 1;
  options.in_flight = 2;
  open(options);
  const device::Address x = words();
  EXPECT_EQ(message_of(step(x, x, 1, 1)), "");
  EXPECT_EQ(message_of(step(x, x, 1, 1)), "");
  EXPECT_EQ(message_of(step(x, x, 1, 1)),
            "Fake M9: commands (the kernel 'metal_test_step') ran longer than the system allows "
            "(Metal's code 2: the fake's fault)");
}

TEST_F(MetalFailure, MemoryThatRunsOutWhileCommandsRunIsSaid) {
  machine().faulty_commands = 1;
  machine().fault = Fault::out_of_memory;
  open();
  const device::Address x = words();
  EXPECT_EQ(message_of(step(x, x, 1, 1)), "");
  EXPECT_EQ(message_of(queue_->wait()),
            "Fake M9: commands (the kernel 'metal_test_step') found too little memory (Metal's "
            "code 8: the fake's fault)");
}

TEST_F(MetalFailure, NoMemoryForStagingIsSaid) {
  open();
  const device::Address x = words();
  EXPECT_EQ(message_of(step(x, x, 1, 1)), "");
  machine().gives_buffers = false;
  EXPECT_EQ(message_of(put(x, {1})), "Fake M9 has no 4.2 MB left for copies");
}

TEST_F(MetalFailure, EveryCodeHasItsWords) {
  std::vector<std::string> sentences;
  for (int code : {1, 2, 3, 4, 5, 7, 8, 9, 11, 12}) {
    sentences.push_back(fault_sentence("M9", {Fault(code), "Reason.\n", 0}, {"a", "b", 2}));
    EXPECT_THAT(sentences.back(), testing::StartsWith("M9: commands (2 kernels from 'a' to 'b') "));
    EXPECT_THAT(sentences.back(),
                testing::EndsWith("(Metal's code " + std::to_string(code) + ": Reason)"));
    sentences.back().erase(sentences.back().rfind(" (Metal's"));
  }
  std::sort(sentences.begin(), sentences.end());
  EXPECT_EQ(std::unique(sentences.begin(), sentences.end()), sentences.end());
  EXPECT_EQ(fault_sentence("M9", {Fault::page_fault, "", 0}, {}),
            "M9: commands (copies) touched memory that is not the device's (Metal's code 3)");
}

}  // namespace
}  // namespace assay::metal::tests
