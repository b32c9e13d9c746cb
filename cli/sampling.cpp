#include "sampling.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <random>

#include "common.h"

void SamplingFlags::resolve_seed() {
  options.seed =
      seed == "-1" ? uint64_t(std::random_device{}()) : std::strtoull(seed.c_str(), nullptr, 10);
}

void add_sampling_flags(CLI::App& command, SamplingFlags& flags) {
  auto& o = flags.options;
  const auto add = [&](const char* name, auto& value, const char* help, const char* type,
                       double low, double high) {
    command.add_option(name, value, help)
        ->type_name(type)
        ->check(between(low, high))
        ->capture_default_str();
  };
  add("--temp", o.temperature, "temperature; 0: always the best token", "X", 0, 1e3);
  add("--top-k", o.top_k, "keep the k best; 0: all", "N", 0, 1e9);
  add("--top-p", o.top_p, "keep the best that sum to p; 1: all", "P", 0, 1);
  add("--min-p", o.min_p, "keep those above p times the best; 0: all", "P", 0, 1);
  add("--repeat-penalty", o.repeat_penalty, "divides the logits of recent tokens; 1: off", "X",
      1e-3, 1e3);
  add("--frequency-penalty", o.frequency_penalty,
      "subtracted for each recent occurrence of a token", "X", -1e3, 1e3);
  add("--presence-penalty", o.presence_penalty, "subtracted once if a token is recent", "X", -1e3,
      1e3);
  add("--repeat-last-n", o.repeat_last_n, "tokens that are recent; -1: all", "N", -1, 1e9);
  const CLI::Validator seed_text(
      [](std::string& text) -> std::string {
        uint64_t value = 0;
        const char* end = text.data() + text.size();
        const auto parsed = std::from_chars(text.data(), end, value);
        if (text == "-1" || (parsed.ec == std::errc() && parsed.ptr == end)) return {};
        return fmt::format("'{}' is neither a whole number from 0 to 2^64 - 1 nor -1", text);
      },
      "");
  command.add_option("-s,--seed", flags.seed, "seed of the draw; -1: random, printed")
      ->type_name("N")
      ->check(seed_text)
      ->capture_default_str();
}
