#include "diff/narrow.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <string_view>
#include <vector>

#include "diff/recorded.h"

namespace assay::diff {

namespace {

/// As a shell reads one word.
std::string quoted(const std::string& word) {
  const auto plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) ||
           std::string_view("/._-,=:").find(c) != std::string_view::npos;
  };
  if (!word.empty() && std::ranges::all_of(word, plain)) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace

std::optional<Narrow> narrow(const op::Program& program, const trace::Trace& trace,
                             const Report& report, const std::string& model) {
  if (!report.first || report.first->record_next.empty()) return std::nullopt;
  const First& first = *report.first;
  const Side& side = first.a ? report.a : report.b;
  const auto closing = std::ranges::find(program.operations, first.operation, &op::Operation::name);
  std::vector<std::string> kept;
  for (const size_t read : opening(program, side, size_t(closing - program.operations.begin())))
    kept.push_back(program.operations[read].name);
  kept.push_back(first.operation);
  std::vector<std::string> names = kept;
  names.push_back(first.record_next);
  const std::string engine = trace.metadata("engine"), named = trace.metadata("model");
  const bool llama_cpp = engine.starts_with("llama.cpp");
  if (!llama_cpp && !engine.starts_with("transformers")) {
    const op::Operation& next =
        *std::ranges::find(program.operations, first.record_next, &op::Operation::name);
    return Narrow{first.record_next,
                  fmt::format("record {}, {} numbers for each token, beside {}", first.record_next,
                              program.values[next.output].width, fmt::join(kept, " and "))};
  }
  std::string command = fmt::format(
      "python -m assay.capture {} {} --tokens {}", llama_cpp ? "llama_cpp" : "transformers",
      quoted(named.empty() ? model : named), fmt::join(trace.steps().front().tokens, ","));
  if (const size_t more = trace.steps().size() - 1; more > 0)
    command += fmt::format(" --decode {}", more);
  if (llama_cpp)
    for (const char* key : {"flash", "kv"})
      if (const std::string value = trace.metadata(key); !value.empty())
        command += fmt::format(" --{} {}", key, quoted(value));
  command += fmt::format(" --only {} -o narrow.safetensors", fmt::join(names, ","));
  return Narrow{first.record_next, std::move(command)};
}

}  // namespace assay::diff
