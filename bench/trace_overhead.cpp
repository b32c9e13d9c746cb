// What recording costs: 20 tokens of a model in one step, without a recorder, with statistics and
// with values, in turns. Prints best and median of each, and the ratio to running without.
//   assay-trace-overhead MODEL [REPETITIONS]
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <vector>

#include "run/engine.h"
#include "trace/recorder.h"

int main(int count, char** arguments) {
  using namespace assay;
  if (count < 2) return fmt::print(stderr, "usage: assay-trace-overhead MODEL [REPETITIONS]\n"), 2;
  auto engine =
      run::Engine::open(arguments[1], {.device = "cpu", .context = 64, .executor = {}, .make = {}});
  if (!engine) return fmt::print(stderr, "{}\n", engine.error().message), 2;
  const int repetitions = count > 2 ? std::max(1, std::atoi(arguments[2])) : 25;
  std::vector<int32_t> tokens;
  for (uint32_t i = 0; i < 20; ++i)
    tokens.push_back(int32_t((i * 631 + 100) % engine->program().vocabulary));
  const std::array<const char*, 3> names = {"no recorder", "statistics", "values"};
  std::array<std::vector<double>, 3> seconds;
  for (int i = 0; i < repetitions; ++i)
    for (size_t mode = 0; mode < names.size(); ++mode) {
      auto sequence = engine->start();
      if (!sequence) return fmt::print(stderr, "{}\n", sequence.error().message), 2;
      trace::Recorder recorder(engine->program(), {.wanted = {}, .statistics = mode == 1});
      engine->watch_steps([&](const op::Step& step) { recorder.begin_step(step); });
      const auto start = std::chrono::steady_clock::now();
      const auto logits = engine->feed(*sequence, tokens, run::Wanted::all, {},
                                       mode == 0 ? op::Sink() : op::Sink(std::ref(recorder)));
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      if (!logits) return fmt::print(stderr, "{}\n", logits.error().message), 2;
      seconds[mode].push_back(took.count());
    }
  for (auto& list : seconds) std::ranges::sort(list);
  for (size_t mode = 0; mode < names.size(); ++mode)
    fmt::print("{:<12} best {:7.2f} ms ({:.2f}x)  median {:7.2f} ms ({:.2f}x)\n", names[mode],
               1e3 * seconds[mode][0], seconds[mode][0] / seconds[0][0],
               1e3 * seconds[mode][seconds[mode].size() / 2],
               seconds[mode][seconds[mode].size() / 2] / seconds[0][seconds[0].size() / 2]);
}
