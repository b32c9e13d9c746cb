#include "bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "child.h"
#include "common.h"
#include "cpu/kernels.h"
#include "op/weight_bytes.h"

using assay::Error;
using assay::Result;
using assay::run::Engine;
using assay::run::Sequence;
using assay::run::Wanted;
using Json = nlohmann::ordered_json;

namespace {

struct Flags {
  ModelFlags model;
  std::vector<uint32_t> prompts{128, 512}, generations{64}, depths{0};
  uint32_t batch = 1, repetitions = 5;
  std::string peer;
  bool json = false;
};

struct Rate {
  std::vector<double> all;
  double median() const {
    auto v = all;
    std::sort(v.begin(), v.end());
    return v.empty()      ? 0
           : v.size() % 2 ? v[v.size() / 2]
                          : (v[v.size() / 2 - 1] + v[v.size() / 2]) / 2;
  }
  double best() const { return all.empty() ? 0 : *std::max_element(all.begin(), all.end()); }
  double worst() const { return all.empty() ? 0 : *std::min_element(all.begin(), all.end()); }
};

struct Case {
  std::string phase;  // prompt, generation
  uint32_t tokens, depth;
  Rate ours, peer;
  std::string hash;         // of the last logits: every repetition must give it
  double weight_bytes = 0;  // that a generated token reads; 0 for a prompt
};

struct Machine {
  std::string cpu;
  double read_bytes = 0, int8_ops = 0;
};

/// Runs function(thread) on every thread and returns the best of five times in seconds.
template <class Function>
double best_time(uint32_t threads, Function function) {
  double best = 1e30;
  for (int i = 0; i < 5; ++i) {
    const double start = seconds();
    std::vector<std::thread> others;
    for (uint32_t t = 1; t < threads; ++t) others.emplace_back([&, t] { function(t); });
    function(0);
    for (auto& other : others) other.join();
    best = std::min(best, seconds() - start);
  }
  return best;
}

/// Sums 64 MiB a thread for the read rate, and runs the bare int8 instruction for the arithmetic
/// peak.
Machine measure_machine(const assay::op::Executor& executor) {
  Machine machine{cpu_name()};
  const uint32_t threads = executor.threads();
  if (executor.device() != "cpu") return machine;  // its own memory and peak are not measured here
  const size_t words = (size_t(64) << 20) / 8;
  std::vector<std::vector<uint64_t>> memory(threads, std::vector<uint64_t>(words, 1));
  std::vector<uint64_t> sums(threads);
  const double read = best_time(threads, [&](uint32_t t) {
    uint64_t parts[8] = {};
    for (size_t i = 0; i < words; i += 8)
      for (size_t j = 0; j < 8; ++j) parts[j] += memory[t][i + j];
    for (uint64_t part : parts) sums[t] += part;
  });
  machine.read_bytes = double(words) * 8 * threads / read;
  if (const auto* kernels = assay::cpu::find_kernels(executor.isa().c_str())) {
    std::vector<uint64_t> ops(threads);
    const double time =
        best_time(threads, [&](uint32_t t) { ops[t] = kernels->int8_peak(20'000'000); });
    machine.int8_ops = double(ops[0]) * threads / time;
  }
  return machine;
}

/// Token ids that look like text to nobody but are the same every time.
std::vector<int32_t> made_up_tokens(uint32_t count, uint32_t vocabulary) {
  std::vector<int32_t> tokens(count);
  for (uint32_t i = 0; i < count; ++i) tokens[i] = int32_t((uint64_t(i) * 7919 + 13) % vocabulary);
  return tokens;
}

std::string hash_of(std::span<const float> logits) {
  uint64_t hash = 1469598103934665603ull;  // FNV-1a over the bytes
  for (uint8_t byte :
       std::span(reinterpret_cast<const uint8_t*>(logits.data()), logits.size_bytes()))
    hash = (hash ^ byte) * 1099511628211ull;
  return fmt::format("{:016x}", hash);
}

/// One repetition of a case, in tokens per second. `sink` sees its operations.
Result<double> measure(Engine& engine, std::vector<Sequence>& sequences, Case& one,
                       const assay::op::Sink& sink = {}) {
  const uint32_t vocabulary = engine.program().vocabulary;
  for (Sequence& sequence : sequences) {
    sequence.truncate(0);
    if (one.depth == 0) continue;
    const auto filled = engine.feed(sequence, made_up_tokens(one.depth, vocabulary), Wanted::last);
    if (!filled) return filled.error();
  }
  const auto tokens = made_up_tokens(one.tokens, vocabulary);
  const double start = seconds();
  Result<std::span<const float>> logits = std::span<const float>{};
  if (one.phase == "prompt") {
    for (Sequence& sequence : sequences)
      if (logits) logits = engine.feed(sequence, tokens, Wanted::last);
  } else {
    for (uint32_t i = 0; i < one.tokens && logits; ++i) {
      std::vector<assay::run::Part> parts;
      for (Sequence& sequence : sequences) parts.push_back({sequence, {&tokens[i], 1}});
      logits = engine.step(parts, Wanted::last, sink);
    }
  }
  if (!logits) return logits.error();
  const double time = seconds() - start;
  const std::string hash = hash_of(*logits);
  if (!one.hash.empty() && one.hash != hash)
    return Error{fmt::format("{} {}: two repetitions gave different logits", one.phase, one.tokens),
                 assay::Exit::negative};
  one.hash = hash;
  return double(one.tokens) * double(sequences.size()) / time;
}

/// Counts the bytes of weights that each token of a generation reads: where a router chooses experts,
/// in one more repetition, on average over its tokens.
assay::Status count_weights(Engine& engine, std::vector<Sequence>& sequences, Case& one) {
  assay::op::WeightBytes bytes(engine.program());
  const auto batch = double(sequences.size());
  if (!bytes.by_routing()) {
    one.weight_bytes = double(bytes.of_step()) / batch;
    return assay::ok();
  }
  const auto& last = engine.program().operations.back();
  uint64_t sum = 0;
  const auto counted = measure(engine, sequences, one, [&](const auto& operation, auto output) {
    bytes.see(operation, output);
    if (&operation == &last) sum += bytes.of_step();
  });
  one.weight_bytes = double(sum) / (batch * one.tokens);
  return counted ? assay::ok() : assay::Status(counted.error());
}

/// One run of the peer's llama-bench for the same case; file and thread count are ours, on another
/// device than the cpu all layers are there (threads 0).
Result<double> measure_peer(const Flags& flags, const std::string& model, uint32_t threads,
                            const Case& one) {
  std::vector<std::string> command = {flags.peer, "-m", model, "-r", "1", "-o", "json"};
  const auto add = [&](std::initializer_list<std::string> more) {
    command.insert(command.end(), more);
  };
  if (threads)
    add({"-t", std::to_string(threads), "-ngl", "0"});
  else
    add({"-ngl", "99", "-fa", "1"});
  const bool prompt = one.phase == "prompt";
  add({"-p", prompt ? std::to_string(one.tokens) : "0", "-n",
       prompt ? "0" : std::to_string(one.tokens)});
  if (one.depth) add({"-d", std::to_string(one.depth)});
  const auto ended = run_child(std::move(command));
  if (!ended) return Error{"the peer: " + ended.error().message};
  if (!ended->succeeded()) return Error{fmt::format("the peer '{}' {}", flags.peer, ended->how())};
  const auto json = nlohmann::json::parse(ended->out, nullptr, false);
  if (!json.is_array() || json.empty() || !json[0].contains("avg_ts") ||
      !json[0]["avg_ts"].is_number()) {
    const std::string line = last_line(ended->out);
    return Error{fmt::format("the peer '{}' did not print llama-bench's JSON{}", flags.peer,
                             line.empty() ? ", nor anything else" : "; its last line: " + line)};
  }
  return json[0]["avg_ts"].get<double>();
}

/// Multiply-adds of the matmuls for one prompt token.
double macs_of(const assay::op::Program& program) {
  double macs = 0;
  for (const auto& operation : program.operations) {
    if (!assay::op::multiplies(operation) || program.values[operation.output].selected) continue;
    const auto columns = double(program.weights[operation.weight].columns);
    macs += double(program.values[operation.output].width) * columns;
  }
  return macs;
}

Json to_json(const Case& one, const Flags& flags, const Engine& engine, const Machine& machine) {
  const bool prompt = one.phase == "prompt";
  Json json = {
      {"phase", one.phase},
      {"tokens", one.tokens},
      {"depth", one.depth},
      {"batch", flags.batch},
      {"threads", engine.executor().threads()},
      {"device", engine.executor().device()},
      {"repetitions", one.ours.all.size()},
      {"tokens_per_s",
       {{"median", one.ours.median()}, {"best", one.ours.best()}, {"worst", one.ours.worst()}}},
      {"weight_bytes", prompt ? Json(nullptr) : Json(one.weight_bytes)},
      {"bandwidth_share", prompt || machine.read_bytes == 0
                              ? Json(nullptr)
                              : Json(one.ours.median() * one.weight_bytes / machine.read_bytes)},
      {"int8_share",
       prompt && machine.int8_ops > 0
           ? Json(one.ours.median() * 2 * macs_of(engine.program()) / machine.int8_ops)
           : Json(nullptr)},
      {"logits_hash", one.hash},
      {"peer", nullptr}};
  if (!one.peer.all.empty())
    json["peer"] = {{"name", "llama-bench"},
                    {"setting", "default"},
                    {"median", one.peer.median()},
                    {"best", one.peer.best()}};
  return json;
}

void print_table(const std::vector<Case>& cases, const Engine& engine, const Machine& machine) {
  fmt::print("machine  {}, {}", machine.cpu, describe(engine));
  if (machine.read_bytes > 0)
    fmt::print(", read {:.1f} GB/s, int8 {:.0f} Gop/s", machine.read_bytes / 1e9,
               machine.int8_ops / 1e9);
  fmt::print("\n");
  fmt::print("commit   {}\n", commit());
  fmt::print("{:<11}{:>7}{:>7}{:>10}{:>10}{:>10}{:>12}  {}\n", "phase", "tokens", "depth", "median",
             "best", "worst", "MB/token",
             "tokens/s and weights read; peer median, best; ratio of medians");
  for (const Case& one : cases) {
    fmt::print("{:<11}{:>7}{:>7}{:>10.1f}{:>10.1f}{:>10.1f}{:>12}", one.phase, one.tokens,
               one.depth, one.ours.median(), one.ours.best(), one.ours.worst(),
               one.weight_bytes > 0 ? fmt::format("{:.3f}", one.weight_bytes / 1e6) : "");
    if (!one.peer.all.empty())
      fmt::print("  {:.1f}, {:.1f}; {:.2f}x", one.peer.median(), one.peer.best(),
                 one.ours.median() / one.peer.median());
    fmt::print("\n");
  }
}

int bench(const Flags& flags) {
  auto engine = open_engine(flags.model, 512, flags.batch);
  if (!engine) return report(engine.error());
  std::vector<Sequence> sequences;
  for (uint32_t s = 0; s < flags.batch; ++s) {
    auto sequence = engine->start();
    if (!sequence) return report(sequence.error());
    sequences.push_back(std::move(*sequence));
  }
  std::vector<Case> cases;
  for (uint32_t depth : flags.depths) {
    for (uint32_t n : flags.prompts)
      if (n) cases.push_back({"prompt", n, depth, {}, {}, {}, 0});
    for (uint32_t n : flags.generations)
      if (n) cases.push_back({"generation", n, depth, {}, {}, {}, 0});
  }
  if (cases.empty()) return report({"nothing to measure: every --prompt and --generation is 0"});
  Progress bar("bench");
  const Machine machine = measure_machine(engine->executor());
  uint64_t done = 0;
  for (Case& one : cases)
    if (one.phase == "generation")
      if (const auto counted = count_weights(*engine, sequences, one); !counted)
        return bar.erase(), report(counted.error());
  for (uint32_t r = 0; r < flags.repetitions + 1; ++r)  // the first is a warm-up
    for (Case& one : cases) {
      const auto rate = measure(*engine, sequences, one);
      if (!rate) return bar.erase(), report(rate.error());
      if (r > 0) one.ours.all.push_back(*rate);
      if (r > 0 && !flags.peer.empty()) {
        const auto other =
            measure_peer(flags, engine->file().path(), engine->executor().threads(), one);
        if (!other) return bar.erase(), report(other.error());
        one.peer.all.push_back(*other);
      }
      bar.show(++done, (flags.repetitions + 1) * cases.size());
    }
  bar.erase();
  if (!flags.json) {
    print_table(cases, *engine, machine);
    return 0;
  }
  Json json = {
      {"schema", "assay.bench/1"},
      {"machine",
       {{"cpu", machine.cpu},
        {"isa", engine->executor().isa()},
        {"read_bytes_per_s", machine.read_bytes > 0 ? Json(machine.read_bytes) : Json(nullptr)},
        {"int8_ops_per_s", machine.int8_ops > 0 ? Json(machine.int8_ops) : Json(nullptr)}}},
      {"commit", commit()},
      {"results", Json::array()}};
  for (const Case& one : cases) json["results"].push_back(to_json(one, flags, *engine, machine));
  fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  return 0;
}

}  // namespace

void add_bench(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "bench", "Measure prompt and generation speed; every repetition must give the same bits");
  add_model_flags(*command, flags->model);
  const char* measured = "What is measured";
  command->add_option("-p,--prompt", flags->prompts, "prompt lengths; 0: none")
      ->group(measured)
      ->type_name("N,N")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  command->add_option("-n,--generation", flags->generations, "tokens to generate; 0: none")
      ->group(measured)
      ->type_name("N,N")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  command->add_option("-d,--depth", flags->depths, "tokens in the cache before")
      ->group(measured)
      ->type_name("N,N")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  command->add_option("--batch", flags->batch, "sequences at once")
      ->group(measured)
      ->type_name("N")
      ->check(between(1, 64))
      ->capture_default_str();
  command->add_option("-r,--repetitions", flags->repetitions, "repetitions")
      ->group(measured)
      ->type_name("N")
      ->check(between(1, 1000))
      ->capture_default_str();
  command->add_option("--peer", flags->peer,
                      "path of llama.cpp's llama-bench: run in turns with ours");
  command->add_flag("--json", flags->json, "schema assay.bench/1");
  command->callback([flags, &exit_code] { exit_code = bench(*flags); });
}
