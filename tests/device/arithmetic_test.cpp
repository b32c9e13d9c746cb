// The probe of a device's arithmetic: a sound one passes, and each way to change f32 is found.
#include "device/arithmetic.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "device/emulated/queue.h"
#include "kernel/probe.h"

namespace assay::device {
namespace {

/// The emulated grid, whose answers to one question are those of another compiler.
class ChangedQueue final : public Queue {
 public:
  using Answer = std::function<uint32_t(float a, float b, float c)>;
  ChangedQueue(uint32_t question, Answer answer)
      : inner_(emulated::make_queue({})), question_(question), answer_(std::move(answer)) {}

  std::string name() const override { return "Changed M1"; }
  Memory memory() const override { return inner_->memory(); }
  Result<Address> allocate(uint64_t bytes) override { return inner_->allocate(bytes); }
  Status upload(Address to, std::span<const uint8_t> bytes) override {
    return inner_->upload(to, bytes);
  }
  Status download(Address from, std::span<uint8_t> bytes) override {
    return inner_->download(from, bytes);
  }
  Status launch(const Launch& launch) override {
    if (Status done = inner_->launch(launch); !done) return done;
    ProbeArgs args;
    std::memcpy(&args, launch.args.data(), sizeof args);
    for (uint32_t i = 0; i < args.cases; ++i)
      args.y[question_ * args.cases + i] =
          answer_(args.x[3 * i], args.x[3 * i + 1], args.x[3 * i + 2]);
    return ok();
  }
  Status wait() override { return inner_->wait(); }
  Status begin_recording() override { return inner_->begin_recording(); }
  Result<uint32_t> end_recording() override { return inner_->end_recording(); }
  Status replay(uint32_t recording) override { return inner_->replay(recording); }

 private:
  std::unique_ptr<Queue> inner_;
  uint32_t question_;
  Answer answer_;
};

std::string said_of(uint32_t question, ChangedQueue::Answer answer) {
  ChangedQueue queue(question, std::move(answer));
  const Status sound = prove_arithmetic(queue);
  if (sound) return "sound";
  EXPECT_EQ(sound.error().exit, Exit::device);
  return sound.error().message;
}

bool names(const std::string& sentence, const std::string& question) {
  const std::string begin =
      "Changed M1 does not compute f32 as the contract assay/1 requires: " + question + " is 0x";
  return sentence.starts_with(begin);
}

TEST(Arithmetic, OfTheEmulatedGridIsSound) {
  const auto queue = emulated::make_queue({});
  const Status sound = prove_arithmetic(*queue);
  EXPECT_TRUE(sound) << sound.error().message;
}

TEST(Arithmetic, RearrangedSumsAreFound) {
  EXPECT_TRUE(
      names(said_of(0, [](float, float b, float) { return probe_bits(b); }), "(a + b) - a"));
}

TEST(Arithmetic, ContractionIsFound) {
  EXPECT_TRUE(names(
      said_of(1, [](float a, float b, float c) { return probe_bits(k_fma(a, b, c)); }), "a*b + c"));
}

TEST(Arithmetic, AnFmaOfTwoRoundingsIsFound) {
  EXPECT_TRUE(names(said_of(2, [](float a, float b, float c) { return probe_bits(a * b + c); }),
                    "fma(a, b, c)"));
}

TEST(Arithmetic, DivisionByAReciprocalIsFound) {
  EXPECT_TRUE(names(said_of(3, [](float a, float b, float) { return probe_bits(a * (1.0f / b)); }),
                    "a / b"));
}

TEST(Arithmetic, OneUnitInTheLastPlaceIsFound) {
  const auto off = [](float x) { return probe_bits(k_float(k_bits(x) ^ 1u)); };
  EXPECT_TRUE(names(said_of(4, [&](float, float b, float) { return off(1.0f / b); }), "1 / b"));
  EXPECT_TRUE(names(said_of(5, [&](float, float, float c) { return off(k_sqrt(c)); }), "sqrt(c)"));
}

TEST(Arithmetic, HalvesThatAreCutOrFlushedAreFound) {
  const auto cut = [](float a, float, float) -> uint32_t {
    return k_f32_to_f16(k_float(k_bits(a) & 0xffffe000u));
  };
  EXPECT_TRUE(names(said_of(6, cut), "f16 from a"));
  const auto flushed = [](float a, float, float) {
    const uint16_t half = uint16_t(k_bits(a) & 0xffffu);
    return half & 0x7c00u ? probe_bits(k_f16_to_f32(half)) : uint32_t(half & 0x8000u) << 16;
  };
  EXPECT_TRUE(names(said_of(7, flushed), "f32 from f16"));
}

TEST(Arithmetic, NumbersThatAreAllFiniteAreFound) {
  EXPECT_TRUE(
      names(said_of(8, [](float, float, float) { return 1u; }), "whether a and c are finite"));
}

TEST(Arithmetic, AQueueThatFailsIsSaid) {
  const auto small = emulated::make_queue({{}, 100});
  const Status sound = prove_arithmetic(*small);
  ASSERT_FALSE(sound);
  EXPECT_EQ(sound.error().exit, Exit::device);
}

}  // namespace
}  // namespace assay::device
