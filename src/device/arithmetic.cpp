#include "device/arithmetic.h"

#include <fmt/format.h>

#include <array>
#include <vector>

#include "base/mix64.h"
#include "kernel/probe.h"

namespace assay::device {

namespace {

constexpr uint32_t cases = 1024;

constexpr std::array<const char*, probe_questions> questions = {
    "(a + b) - a", "a*b + c",      "fma(a, b, c)",
    "a / b",       "1 / b",        "sqrt(c)",
    "f16 from a",  "f32 from f16", "whether a and c are finite"};

struct Numbers {
  float a, b, c;
};

/// Magnitudes of 2^-20 to 2^20, so that no answer is a denormal, which devices may flush; c is near
/// -a·b in every second case, where one rounding and two differ most. Some cases have NaN, infinity
/// or zeros.
std::vector<Numbers> make_numbers() {
  std::vector<Numbers> numbers(cases);
  uint64_t state = 2026;
  const auto any = [&] {
    const uint64_t word = splitmix64(state);
    return k_float(uint32_t(word & 0x807fffffu) | uint32_t(107 + (word >> 32) % 41) << 23);
  };
  for (uint32_t i = 0; i < cases; ++i) {
    Numbers& n = numbers[i];
    n = {any(), any(), any()};
    if (i % 2) n.c = -n.a * n.b * (1.0f + 0x1p-20f);
    if (i % 64 == 10) n.a = k_float(0x7fc00000u);
    if (i % 64 == 20) n.b = k_float(0x7f800000u);
    if (i % 64 == 30) n.c = k_float(0xff800000u);
    if (i % 64 == 40) n.a = -0.0f;
    if (i % 64 == 50) n.b = 0.0f;
  }
  return numbers;
}

template <class T>
std::span<const uint8_t> bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(T)};
}

}  // namespace

Status prove_arithmetic(Queue& queue) {
  const std::vector<Numbers> numbers = make_numbers();
  std::vector<uint32_t> answers(probe_questions * cases);
  const auto x = queue.allocate(numbers.size() * sizeof(Numbers));
  if (!x) return x.error();
  const auto y = queue.allocate(answers.size() * sizeof(uint32_t));
  if (!y) return y.error();
  if (Status done = queue.upload(*x, bytes_of(numbers)); !done) return done;
  const ProbeArgs args{reinterpret_cast<const float*>(*x), reinterpret_cast<uint32_t*>(*y), cases,
                       0};
  const auto& probe = kernels::probe;
  if (Status done = queue.launch(launch_of(probe, cases / probe.threads, probe_questions, args));
      !done)
    return done;
  const std::span<uint8_t> received(reinterpret_cast<uint8_t*>(answers.data()),
                                    answers.size() * sizeof(uint32_t));
  if (Status done = queue.download(*y, received); !done) return done;
  for (uint32_t question = 0; question < probe_questions; ++question)
    for (uint32_t i = 0; i < cases; ++i) {
      const Numbers& n = numbers[i];
      const uint32_t want = probe_answer(question, n.a, n.b, n.c);
      const uint32_t got = answers[question * cases + i];
      if (got != want)
        return Error{
            fmt::format("{} does not compute f32 as the contract assay/1 requires: {} is {:#010x} "
                        "there, not {:#010x}, for a = {}, b = {}, c = {}",
                        queue.name(), questions[question], got, want, n.a, n.b, n.c),
            Exit::device};
    }
  return ok();
}

}  // namespace assay::device
