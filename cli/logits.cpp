#include "logits.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "common.h"
#include "not_finite.h"
#include "prompt.h"
#include "trace/safetensors.h"
#include "trace/statistics.h"

using assay::Error;
using assay::Result;

namespace {

struct Flags {
  ModelFlags model;
  PromptFlags prompt;
  std::string cut, output;
  uint32_t batch_copies = 1, top = 5;
  bool json = false;
};

struct Best {
  int32_t id;
  float logit;
  std::optional<std::string> text;  // none: the file has no tokenizer
};

struct Run {
  std::vector<int32_t> tokens;
  std::vector<float> logits;  // (tokens, vocabulary)
  uint32_t vocabulary;
  std::string path, device, isa, contract, description;
  std::vector<Best> best;  // of the last position
};

Result<Run> compute(const Flags& flags) {
  auto engine = open_engine(flags.model, 64, flags.batch_copies);
  if (!engine) return engine.error();
  const auto tokens = read_prompt(flags.prompt, engine->model());
  if (!tokens) return tokens.error();
  const auto ends = read_cuts(flags.cut, tokens->size());
  if (!ends) return ends.error();
  const auto& executor = engine->executor();
  Run run{*tokens,
          {},
          engine->program().vocabulary,
          engine->file().path(),
          executor.device(),
          executor.isa(),
          executor.contract(),
          describe(*engine),
          {}};
  std::vector<assay::run::Sequence> sequences;
  for (uint32_t s = 0; s < flags.batch_copies; ++s) {
    auto sequence = engine->start();
    if (!sequence) return sequence.error();
    sequences.push_back(std::move(*sequence));
  }
  size_t start = 0;
  Progress bar("prompt");
  for (size_t end : *ends) {
    // Steps of at most the batch; with --sequences several copies of the prompt share each step.
    for (size_t at = start; at < end;) {
      const size_t count = std::min<size_t>(end - at, 64 / flags.batch_copies);
      std::vector<assay::run::Part> parts;
      for (auto& sequence : sequences)
        parts.push_back({sequence, std::span(*tokens).subspan(at, count)});
      const auto logits = engine->step(parts, assay::run::Wanted::all);
      if (!logits) return logits.error();
      const auto own = logits->last(count * run.vocabulary);  // those of the last copy
      run.logits.insert(run.logits.end(), own.begin(), own.end());
      at += count;
      bar.show(at, tokens->size());
    }
    start = end;
  }
  // Token ids run without a tokenizer, or with one that assay does not know: then nothing is named.
  const auto& tokenizer = engine->model().tokenizer();
  for (const auto& [id, logit] :
       assay::trace::top(std::span(run.logits).last(run.vocabulary), flags.top)) {
    run.best.push_back({int32_t(id), logit, {}});
    if (tokenizer) run.best.back().text = tokenizer->piece(int32_t(id));
  }
  if (has_not_finite(run.logits))
    fmt::print(stderr, "assay: logits are NaN or infinite; {}\n", why_not_finite(*engine));
  return run;
}

assay::Status save(const std::string& path, const Run& run) {
  const auto bytes = [](const auto& v) {
    return std::span(reinterpret_cast<const uint8_t*>(v.data()), v.size() * sizeof(v[0]));
  };
  const std::vector<assay::trace::SafeTensor> tensors = {
      {"tokens", "I32", {run.tokens.size()}, bytes(run.tokens)},
      {"logits", "F32", {run.tokens.size(), run.vocabulary}, bytes(run.logits)}};
  return assay::trace::write_safetensors(
      path, tensors, {{"engine", "assay"}, {"contract", run.contract}, {"device", run.device}});
}

void print(const Flags& flags, const Run& run) {
  assay::trace::LogitsHash hash;
  hash.update(run.logits);
  const std::string hex = hash.hex();
  const auto all = assay::trace::statistics(run.logits);
  const std::span last = std::span(run.logits).last(run.vocabulary);
  const auto of_last = assay::trace::statistics(last);
  if (flags.json) {
    nlohmann::ordered_json json = {{"schema", "assay.logits/1"},
                                   {"model", run.path},
                                   {"device", run.device},
                                   {"isa", run.isa},
                                   {"contract", run.contract},
                                   {"tokens", run.tokens},
                                   {"vocabulary", run.vocabulary},
                                   {"logits_sha256", hex},
                                   {"nan", all.nan},
                                   {"top", nlohmann::ordered_json::array()}};
    for (const Best& one : run.best) {
      json["top"].push_back({{"id", one.id}, {"logit", one.logit}});
      if (one.text) json["top"].back()["text"] = *one.text;
    }
    json["last"] = {{"max", of_last.max}, {"min", of_last.min}, {"mean", of_last.mean}};
    fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    return;
  }
  fmt::print("hash    {}\n", hex);
  fmt::print("tokens  {}, logits {} x {}, NaN {}\n", run.tokens.size(), run.tokens.size(),
             run.vocabulary, all.nan);
  fmt::print("last    max {:.4f}, min {:.4f}, mean {:.4f}\n", of_last.max, of_last.min,
             of_last.mean);
  for (const Best& one : run.best)
    fmt::print("top     {:>7}  {:.4f}{}\n", one.id, one.logit,
               one.text ? fmt::format("  '{}'", escaped(*one.text)) : "");
}

int logits(const Flags& flags) {
  if (const auto good = check_prompt(flags.prompt); !good) return report(good.error());
  // The file is written beside and renamed: a device or a pipe would be replaced by it.
  std::error_code ignored;
  if (!flags.output.empty() && std::filesystem::exists(flags.output, ignored) &&
      !std::filesystem::is_regular_file(flags.output, ignored))
    return report({fmt::format("cannot write '{}': it is not a regular file", flags.output)});
  const auto run = compute(flags);
  if (!run) return report(run.error());
  fmt::print(stderr, "device: {}\n", run->description);
  print(flags, *run);
  if (flags.output.empty()) return 0;
  const auto saved = save(flags.output, *run);
  return saved ? 0 : report(saved.error());
}

}  // namespace

void add_logits(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      app.add_subcommand("logits", "Logits of every position: hash, best tokens, file");
  add_model_flags(*command, flags->model);
  add_prompt_flags(*command, flags->prompt);
  command->add_option("--cut", flags->cut,
                      "run the prompt in several steps, cut before these positions");
  command
      ->add_option("--sequences", flags->batch_copies,
                   "run this many copies in one batch; prints the last")
      ->type_name("N")
      ->check(between(1, 64))
      ->capture_default_str();
  command->add_option("--top", flags->top, "best tokens to print")
      ->type_name("N")
      ->check(between(0, 1 << 28))
      ->capture_default_str();
  command->add_option("-o,--output", flags->output,
                      "safetensors with tokens (n) i32 and logits (n, vocabulary) f32");
  command->add_flag("--json", flags->json, "schema assay.logits/1");
  command->callback([flags, &exit_code] { exit_code = logits(*flags); });
}
