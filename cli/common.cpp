#include "common.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "base/sha256.h"
#include "fault.h"
#include "run/device.h"
#include "text/utf8.h"

using assay::Error;
using assay::Exit;
using assay::Result;

namespace {

struct KnownModel {
  const char* name;
  const char* file;
};
constexpr std::array known_models = {
    // the first is the default
    KnownModel{"SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct.Q4_1.gguf"},
};

std::filesystem::path cache_folder() {
  if (const char* set = std::getenv("ASSAY_CACHE"); set && *set) return set;
  if (const char* set = std::getenv("XDG_CACHE_HOME"); set && *set)
    return std::filesystem::path(set) / "assay";
  const char* home = std::getenv("HOME");
  return std::filesystem::path(home ? home : ".") / ".cache" / "assay";
}

}  // namespace

Result<std::string> resolve_model(const std::string& name_or_path) {
  for (const KnownModel& known : known_models) {
    if (!name_or_path.empty() && name_or_path != known.name) continue;
    const std::filesystem::path path = cache_folder() / "models" / known.name / known.file;
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) return path.string();
    return Error{fmt::format(
        "the model '{}' has not been fetched ('{}' does not exist); 'make model' fetches it",
        known.name, path.string())};
  }
  std::error_code ignored;
  if (std::filesystem::exists(name_or_path, ignored)) return name_or_path;
  std::string names;
  for (const KnownModel& known : known_models)
    names += (names.empty() ? "" : ", ") + std::string(known.name);
  return Error{
      fmt::format("no file '{}', and no known model of that name; known: {}", name_or_path, names)};
}

std::string default_model() {
  return known_models[0].name;
}

bool verbose = false;
std::string called_command = "assay";

Error wrong_usage(const std::string& sentence) {
  const char* see = sentence.ends_with('?') ? " See" : "; see";
  return Error{fmt::format("{}{} '{} --help'", sentence, see, called_command)};
}

int report(const Error& error) {
  erase_progress();
  fmt::print(stderr, "assay: {}\n", escaped(error.message, false));
  return int(error.exit);
}

CLI::Option* add_context_flag(CLI::App& command, uint32_t& context) {
  return command
      .add_option("-c,--ctx-size", context,
                  "most positions of a sequence (default: the context the model was trained for)")
      ->type_name("N")
      ->check(between(0, 1 << 28));
}

void add_model_flags(CLI::App& command, ModelFlags& flags) {
  command
      .add_option("model,-m,--model", flags.model,
                  "GGUF file, or the name of a known model (default: SmolLM2-135M-Instruct)")
      ->type_name("MODEL");
  command.add_option("--device", flags.device, assay::run::device_names())
      ->type_name("NAME")
      ->capture_default_str();
  command.add_option("-t,--threads", flags.threads, "threads of the cpu (default: all cores)")
      ->type_name("N")
      ->check(between(0, 1024));
  add_context_flag(command, flags.context);
  command.add_option("--kv", flags.cache, "type of the KV cache")
      ->check(CLI::IsMember({"f16", "f32"}))
      ->capture_default_str();
  command
      .add_option("--contract", flags.contract,
                  "arithmetic: assay/1 (default of cpu), f32 (activations not quantised), exact "
                  "(default of reference)")
      ->check(CLI::IsMember({"assay/1", "f32", "exact"}));
  command
      .add_flag("--ftz", flags.flush_denormals,
                "run with denormals flushed to zero, as a test: no bit may change")
      ->group("");
  add_fault_flags(command, flags);
}

void add_batch_flag(CLI::App& command, uint32_t& batch) {
  command.add_option("-b,--batch", batch, "most prompt tokens in one step")
      ->type_name("N")
      ->check(between(1, 65535))
      ->capture_default_str();
}

std::string chosen_device(const std::string& device) {
  if (device != "auto") return device;
  auto choice = assay::run::choose_device();
  if (!choice.reason.empty())
    fmt::print(stderr, "device auto: {}, as {}\n", choice.device, choice.reason);
  return choice.device;
}

namespace {

/// What -v says of a model.
void say_more(const assay::run::Engine& engine, const ModelFlags& flags, double load) {
  const assay::op::Program& program = engine.program();
  const auto name = engine.file().string_value("general.architecture");
  fmt::print(stderr, "model: {} ({}, {} tensors, {:.1f} MB)\n",
             escaped(engine.file().path(), false),
             name && *name ? escaped(**name, false) : "no architecture",
             engine.file().tensors().size(), double(engine.file().size()) / 1e6);
  fmt::print(stderr,
             "program: {} layers, {} operations, vocabulary {}; context {} positions, cache {}; "
             "opened in {:.2f} s\n",
             program.layers, program.operations.size(), program.vocabulary, engine.context(),
             flags.cache, load);
}

}  // namespace

Result<assay::run::Engine> open_engine(const ModelFlags& flags, uint32_t batch,
                                       uint32_t sequences) {
  const auto path = resolve_model(flags.model);
  if (!path) return path.error();
  assay::run::EngineOptions options;
  options.device = chosen_device(flags.device);
  options.context = flags.context;
  options.executor.threads = flags.threads;
  options.executor.batch = batch;
  options.executor.sequences = sequences;
  options.executor.cache =
      flags.cache == "f32" ? assay::op::CacheType::f32 : assay::op::CacheType::f16;
  const bool exact =
      flags.contract == "exact" || (flags.contract.empty() && flags.device == "reference");
  options.executor.contract = exact                     ? assay::op::Contract::exact
                              : flags.contract == "f32" ? assay::op::Contract::f32
                                                        : assay::op::Contract::assay1;
  options.executor.flush_denormals = flags.flush_denormals;
  if (const char* isa = std::getenv("ASSAY_ISA"); isa && *isa && options.device == "cpu")
    options.executor.isa = isa;
  if (const auto good = use_fault(flags, options); !good) return good.error();
  Progress bar("load");
  options.executor.progress = [&](uint64_t done, uint64_t total) { bar.show(done, total); };
  const double start = seconds();
  auto engine = assay::run::Engine::open(*path, options);
  bar.erase();
  if (engine && verbose) say_more(*engine, flags, seconds() - start);
  return engine;
}

std::string describe(const assay::run::Engine& engine) {
  const assay::op::Executor& executor = engine.executor();
  const std::string& factors = engine.program().rope_factors;
  return fmt::format("{}, contract {}{}",
                     assay::op::text_of(executor.device(), executor.isa(), executor.threads()),
                     executor.contract(),
                     factors.empty() ? "" : fmt::format(", {} RoPE factors", factors));
}

std::string file_sha256(const assay::gguf::File& file) {
  constexpr size_t piece = size_t(4) << 20;
  assay::Sha256 hash;
  Progress bar("hash of the file");
  uint64_t done = 0;
  for (const auto bytes : file.parts()) {
    for (size_t at = 0; at < bytes.size(); at += piece) {
      const auto part = bytes.subspan(at, std::min(piece, bytes.size() - at));
      hash.update(part);
      file.release(part);
      bar.show(done += part.size(), file.size());
    }
  }
  return hash.hex();
}

Result<std::vector<int32_t>> parse_ids(const std::string& text) {
  std::vector<int32_t> ids;
  const char* at = text.data();
  const char* end = at + text.size();
  const auto skip_spaces = [&] {
    while (at < end && *at == ' ') ++at;
  };
  for (skip_spaces(); at < end; skip_spaces()) {
    if (!ids.empty() && *at == ',') ++at;
    skip_spaces();
    int32_t id = 0;
    const auto parsed = std::from_chars(at, end, id);
    const bool ends = parsed.ptr == end || *parsed.ptr == ',' || *parsed.ptr == ' ';
    if (parsed.ec != std::errc() || id < 0 || !ends)
      return Error{fmt::format("'{}' is not a list of token ids such as 1,2,3", text)};
    ids.push_back(id);
    at = parsed.ptr;
  }
  return ids;
}

namespace {

void note_remarks(const Result<assay::text::Tokenizer>& tokenizer) {
  if (!tokenizer) return;
  if (!tokenizer->names_pre_tokenizer())
    fmt::print(stderr,
               "assay: the file names no pre-tokenizer (tokenizer.ggml.pre): using 'default', "
               "which may give different tokens from those the model was trained with\n");
  if (!tokenizer->ids_outside().empty())
    fmt::print(stderr, "assay: {}\n", tokenizer->ids_outside());
}

}  // namespace

Result<assay::text::Tokenizer> open_tokenizer(const assay::gguf::File& file) {
  auto tokenizer = assay::text::Tokenizer::open(file);
  note_remarks(tokenizer);
  return tokenizer;
}

const Result<assay::text::Tokenizer>& open_tokenizer(const assay::run::Model& model) {
  note_remarks(model.tokenizer());
  return model.tokenizer();
}

Result<std::string> read_text(const std::string& path) {
  if (path == "-") return std::string(std::istreambuf_iterator<char>(std::cin), {});
  std::error_code ignored;
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path, ignored))
    return Error{fmt::format("cannot read '{}'", path)};
  return std::string(std::istreambuf_iterator<char>(file), {});
}

CLI::Validator between(double low, double high) {
  return {[=](std::string& text) -> std::string {
            double value = 0;
            const bool number = CLI::detail::lexical_cast(text, value);
            if (number && value >= low && value <= high) return {};
            return fmt::format("'{}' is not a number from {} to {}", text, low, high);
          },
          ""};
}

std::string escaped(std::string_view text, bool quotes) {
  std::string line;
  while (!text.empty()) {
    const auto character = assay::text::first_character(text);
    const auto byte = uint8_t(text[0]);
    if (byte == '\n') {
      line += "\\n";
    } else if (byte == '\t') {
      line += "\\t";
    } else if (quotes && (byte == '\\' || byte == '\'')) {
      line += {'\\', text[0]};
    } else if (character.sequence == assay::text::Sequence::whole && byte >= 0x20 && byte != 0x7F) {
      line += text.substr(0, character.length);
    } else {
      for (const char c : text.substr(0, character.length))
        line += fmt::format("\\x{:02x}", uint8_t(c));
    }
    text.remove_prefix(character.length);
  }
  return line;
}

std::string unescaped(std::string_view text) {
  constexpr std::string_view letters = "nrt'\"\\", meanings = "\n\r\t'\"\\";
  std::string out;
  for (std::string_view rest = text; !rest.empty();) {
    const bool escape = rest.size() > 1 && rest[0] == '\\';
    const size_t letter = escape ? letters.find(rest[1]) : letters.npos;
    uint8_t byte = 0;
    if (letter != letters.npos) {
      out += meanings[letter];
      rest.remove_prefix(2);
    } else if (escape && rest[1] == 'x' && rest.size() > 3 &&
               std::from_chars(&rest[2], &rest[2] + 2, byte, 16).ptr == &rest[2] + 2) {
      out += char(byte);
      rest.remove_prefix(4);
    } else {
      out += rest[0];
      rest.remove_prefix(1);
    }
  }
  return out;
}

assay::Status flush_output() {
  static int first = 0;  // later flushes find an empty buffer and no cause
  errno = 0;
  const bool failed = std::fflush(stdout) != 0 || std::ferror(stdout);
  if (failed && first == 0) first = errno ? errno : EIO;
  errno = first;
  if (first == 0) return assay::ok();
  return Error{fmt::format("cannot write to standard output: {}", std::strerror(first))};
}

std::atomic<bool> interrupted{false};

void catch_interrupt(bool end_reads) {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = true; };
  // A second Ctrl-C finds the default handler and ends the program.
  action.sa_flags = int(SA_RESETHAND) | (end_reads ? 0 : SA_RESTART);
  sigaction(SIGINT, &action, nullptr);
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

uint64_t peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
#if defined(__APPLE__)
  return uint64_t(usage.ru_maxrss);
#else
  return uint64_t(usage.ru_maxrss) * 1024;
#endif
}

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

Result<std::vector<size_t>> read_cuts(const std::string& text, size_t count) {
  const auto ids = parse_ids(text);
  if (!ids) return Error{fmt::format("--cut: {}", ids.error().message)};
  std::vector<size_t> ends;
  if (!ids->empty() && count == 1)
    return Error{fmt::format("--cut {}: a single token cannot be cut", text)};
  for (int32_t at : *ids) {
    if (size_t(at) >= count || at == 0 || (!ends.empty() && size_t(at) <= ends.back()))
      return Error{fmt::format("--cut {}: the cuts must be ascending and between 1 and {}", text,
                               count - 1)};
    ends.push_back(size_t(at));
  }
  ends.push_back(count);
  return ends;
}
