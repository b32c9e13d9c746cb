#include "check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <memory>
#include <optional>

#include "check/question.h"
#include "common.h"
#include "gguf/file.h"
#include "model/model.h"
#include "op/kinds.h"
#include "paragraph.h"
#include "quant/formats.h"

using assay::Error;
using assay::Exit;
using assay::Result;
using assay::check::Answer;
using assay::check::Question;
using assay::trace::Npy;

namespace {

constexpr uint64_t most_positions = 1 << 20;

/// "0-6,9" as positions.
Result<std::vector<uint32_t>> parse_positions(const std::string& text) {
  const auto refuse = [&] {
    return Error{fmt::format("--positions: '{}' is not a list such as 5,6 or 0-6", text)};
  };
  std::vector<uint32_t> out;
  const char *at = text.data(), *end = at + text.size();
  while (at < end) {
    uint32_t first = 0, last = 0;
    auto parsed = std::from_chars(at, end, first);
    if (parsed.ec != std::errc()) return refuse();
    last = first;
    if (parsed.ptr < end && *parsed.ptr == '-') {
      parsed = std::from_chars(parsed.ptr + 1, end, last);
      if (parsed.ec != std::errc() || last < first) return refuse();
    }
    at = parsed.ptr;
    if (at < end && (*at++ != ',' || at == end)) return refuse();
    if (last > INT32_MAX || last - first >= most_positions - out.size())
      return Error{fmt::format("--positions: '{}' is too large", text)};
    for (uint32_t position = first; position <= last; ++position) out.push_back(position);
  }
  return out;
}

/// What the files hold.
struct Arrays {
  std::vector<Npy> inputs;
  std::optional<Npy> output;
};

Result<Arrays> read_arrays(const CheckFlags& flags) {
  Arrays out;
  for (const std::string& path : flags.inputs) {
    auto array = assay::trace::read_npy(path);
    if (!array) return array.error();
    out.inputs.push_back(std::move(*array));
  }
  if (flags.output.empty()) return out;
  auto array = assay::trace::read_npy(flags.output);
  if (!array) return array.error();
  out.output = std::move(*array);
  return out;
}

/// "two inputs: gate and up"
std::string inputs_of(const assay::op::KindRow& row) {
  constexpr std::array counts = {"no input but --tokens", "one input", "two inputs",
                                 "three inputs"};
  std::string text = counts[row.reads.size()];
  if (row.reads.size() < 2) return text;
  for (size_t i = 0; i < row.reads.size(); ++i)
    text += fmt::format("{}{}",
                        i == 0                     ? ": "
                        : i + 1 < row.reads.size() ? ", "
                                                   : " and ",
                        row.reads[i]);
  return row.cache ? text + " (queries after RoPE, keys and values of all cached positions)" : text;
}

/// The inputs as tables, keys and values apart.
assay::Status fill_inputs(const CheckFlags& flags, const Arrays& arrays, Question& question) {
  const assay::op::Program& program = *question.program;
  const assay::op::Operation& operation = program.operations[question.operation];
  const assay::op::KindRow& row = assay::op::row_of(operation);
  if (arrays.inputs.size() != row.reads.size())
    return Error{
        fmt::format("{} reads {}; {} given", operation.name, inputs_of(row), arrays.inputs.size())};
  const auto table = [&](size_t i, uint32_t width, assay::check::Table& out) -> assay::Status {
    auto read = assay::check::to_table(arrays.inputs[i], width, flags.inputs[i]);
    if (!read) return read.error();
    out = std::move(*read);
    return assay::ok();
  };
  for (size_t i = 0; i < operation.inputs.size(); ++i) {
    const uint32_t width = program.values[operation.inputs[i]].width;
    if (const auto done = table(i, width, question.inputs.emplace_back()); !done) return done;
    if (question.inputs[i].rows != question.inputs[0].rows)
      return Error{fmt::format("{} has {} rows, {} has {}", flags.inputs[i],
                               question.inputs[i].rows, flags.inputs[0], question.inputs[0].rows)};
  }
  if (!operation.is<assay::op::Attend>()) return assay::ok();
  const assay::op::AttentionShape a = program.attention_of(operation);
  if (const auto done = table(1, a.kv_heads * a.key_dim, question.keys); !done) return done;
  if (const auto done = table(2, a.kv_heads * a.value_dim, question.values); !done) return done;
  if (question.keys.rows == question.values.rows) return assay::ok();
  return Error{fmt::format("{} keys, but {} values", question.keys.rows, question.values.rows)};
}

/// Positions as given, else from 0 on; attention's queries are the last of the cache.
assay::Status fill_positions(const std::vector<uint32_t>& given, Question& question) {
  const assay::op::Program& program = *question.program;
  const bool attends = program.operations[question.operation].is<assay::op::Attend>();
  const uint64_t rows = question.inputs[0].rows, held = question.keys.rows;
  auto& positions = question.step.positions;
  positions = given;
  if (given.empty()) {
    if (attends && held < rows) return Error{fmt::format("{} queries, but {} keys", rows, held)};
    const uint64_t first = attends ? held - rows : 0;
    for (uint64_t t = 0; t < rows; ++t) positions.push_back(uint32_t(first + t));
  }
  if (positions.size() != rows)
    return Error{fmt::format("{} positions for {} rows", positions.size(), rows)};
  const uint32_t last = *std::ranges::max_element(positions);
  if (attends && last >= held)
    return Error{fmt::format("a query at position {}, but only {} keys", last, held)};
  question.step.tokens.assign(rows, 0);
  return assay::ok();
}

/// The rows of a table of positions.
assay::Status fill_table_positions(const std::vector<uint32_t>& given, Question& question) {
  if (given.empty()) return Error{"an embedding of positions needs --positions"};
  const assay::op::Program& program = *question.program;
  const uint64_t rows = program.weights[program.operations[question.operation].weight].rows;
  for (const uint32_t position : given)
    if (position >= rows)
      return Error{fmt::format("position {} is beyond the {} of the table", position, rows)};
  question.step.positions = given;
  question.step.tokens.assign(given.size(), 0);
  return assay::ok();
}

assay::Status fill_tokens(const CheckFlags& flags, Question& question) {
  if (flags.tokens.empty()) return Error{"an embedding needs --tokens"};
  auto tokens = parse_ids(flags.tokens);
  if (!tokens) return tokens.error();
  for (const int32_t token : *tokens)
    if (uint32_t(token) >= question.program->vocabulary)
      return Error{fmt::format("token {} is beyond the vocabulary of {}", token,
                               question.program->vocabulary)};
  question.step.tokens = std::move(*tokens);
  return assay::ok();
}

/// An angle of 2^24 and more has lost its fraction in f32, and cos and sin here are not made for
/// it.
assay::Status check_angles(const assay::op::Program& program, const assay::op::Operation& operation,
                           const std::vector<uint32_t>& positions) {
  if (!operation.is<assay::op::Rope>()) return assay::ok();
  for (const double frequency : program.rope_of(operation).frequency)
    for (const uint32_t position : positions)
      if (!(double(position) * frequency < 0x1p24))
        return Error{fmt::format("position {} turns a pair by 2^24 or more", position)};
  return assay::ok();
}

Result<Question> make_question(const CheckFlags& flags, const assay::op::Program& program,
                               size_t index, const Arrays& arrays,
                               const std::vector<uint32_t>& positions) {
  Question question;
  question.program = &program;
  question.operation = index;
  question.cache = flags.cache;
  const assay::op::Operation& operation = program.operations[index];
  if (assay::op::row_of(operation).moves)
    return Error{fmt::format("{} only moves values: there is nothing to judge", operation.name)};
  if (const auto done = fill_inputs(flags, arrays, question); !done) return done.error();
  const auto* embed = operation.as<assay::op::Embed>();
  const auto filled = !embed               ? fill_positions(positions, question)
                      : embed->of_position ? fill_table_positions(positions, question)
                                           : fill_tokens(flags, question);
  if (!filled) return filled.error();
  if (const auto good = check_angles(program, operation, question.step.positions); !good)
    return good.error();
  if (!arrays.output) return question;
  auto output = assay::check::to_table(*arrays.output, program.values[operation.output].width,
                                       flags.output, true);
  if (!output) return output.error();
  const uint64_t rows = question.step.tokens.size();
  if (output->rows != rows)
    return Error{fmt::format("{} has {} rows; {} were given to the kernel", flags.output,
                             output->rows, rows)};
  question.output = std::move(*output);
  question.output_is_f16 = arrays.output->type == assay::trace::NpyType::f2;
  return question;
}

std::string place(const assay::judge::Seen& seen) {
  return fmt::format("token {} channel {}", seen.token, seen.row);
}

void print_answer(const Question& question, const Answer& answer) {
  const assay::op::Program& program = *question.program;
  const assay::op::Operation& operation = program.operations[question.operation];
  std::string text(assay::op::name_of(operation));
  if (operation.weight != assay::op::none) {
    const assay::op::Weight& weight = program.weights[operation.weight];
    text += fmt::format(" by {} {} ({}, {})", weight.name, assay::quant::info(weight.type).name,
                        weight.rows, weight.columns);
  }
  if (text != operation.name) text = operation.name + ": " + text;
  fmt::print("{}\n\n", escaped(text, false));
  fmt::print("{:<10} {:>9} {:>8} {:>6} {:>12} {:>10}  {}\n", "contract", "elements", "fail", "ties",
             "worst u", "limit u", "where");
  for (const auto& trial : answer.trials)
    fmt::print("{:<10} {:>9} {:>8} {:>6} {:>12.3g} {:>10.3g}  {}\n", trial.contract,
               trial.seen.elements, trial.seen.failures, trial.seen.ties, trial.seen.max_u,
               trial.seen.limit_u, place(trial.seen));
  fmt::print("\nworst under {}: {}, got {:.9g}, want {:.9g}\n", answer.best.contract,
             place(answer.best.seen), answer.got, answer.want);
  if (answer.verdict == assay::diff::Verdict::fail) print_paragraph(assay::diff::unit_explained());
  print_paragraph(escaped(answer.sentence, false));
}

/// What the operation must give: to a file, or its beginning to the screen.
int give_expected(const CheckFlags& flags, const Question& question) {
  const std::string contract = flags.contract.empty() ? "f32" : flags.contract;
  Progress bar("compute what is right");
  const auto judged = assay::check::expected(question, contract);
  bar.erase();
  const auto& want = judged.want;
  if (!flags.expected.empty()) {
    const std::vector<float> values(want.data.begin(), want.data.end());
    const auto written = assay::trace::write_npy(flags.expected, {want.rows, want.width}, values);
    if (!written) return report(written.error());
    fmt::print(stderr, "expected values under {}, {} x {}, in {}\n", contract, want.rows,
               want.width, flags.expected);
    return 0;
  }
  const size_t shown = std::min<size_t>(want.data.size(), 32);
  fmt::print(
      "expected under {}, limit in u = 2^-24 of the scale\n{:>6} {:>7} {:>16} {:>16} {:>10}\n",
      contract, "token", "channel", "value", "scale", "limit u");
  for (size_t i = 0; i < shown; ++i)
    fmt::print("{:>6} {:>7} {:>16.9g} {:>16.9g} {:>10.3g}\n", i / want.width, i % want.width,
               want.data[i], judged.scale.data[i], judged.limit_at(i / want.width, i % want.width));
  if (shown < want.data.size())
    fmt::print("{} more; --expected FILE writes all\n", want.data.size() - shown);
  return 0;
}

/// Where the first two dimensions of an array are equal, (tokens, heads, channels) may as well be
/// (heads, tokens, channels). An answer that is not right is asked for again with such arrays read the
/// other way, all of them first; the one that is right, with its sentence saying so.
std::optional<Answer> other_layouts(const CheckFlags& flags, const assay::op::Program& program,
                                    size_t index, const Arrays& arrays,
                                    const std::vector<uint32_t>& positions, Question& question) {
  struct Ambiguous {
    size_t array;  // of the inputs; their number: the output
    std::pair<size_t, size_t> outer;
  };
  std::vector<Ambiguous> list;
  for (size_t i = 0; i <= arrays.inputs.size(); ++i) {
    const Npy& array = i < arrays.inputs.size() ? arrays.inputs[i] : *arrays.output;
    const auto outer = assay::trace::outer_dimensions(array);
    if (outer && array.shape[outer->first] == array.shape[outer->second])
      list.push_back({i, *outer});
  }
  for (uint32_t chosen = (1u << list.size()) - 1; chosen > 0; --chosen) {
    Arrays other = arrays;
    std::string names;
    for (size_t i = 0; i < list.size(); ++i) {
      if ((chosen >> i & 1) == 0) continue;
      const bool input = list[i].array < arrays.inputs.size();
      Npy& array = input ? other.inputs[list[i].array] : *other.output;
      array = assay::trace::exchanged(array, list[i].outer.first, list[i].outer.second);
      names += (names.empty() ? "" : ", ") + (input ? flags.inputs[list[i].array] : flags.output);
    }
    auto asked = make_question(flags, program, index, other, positions);
    if (!asked) continue;
    Answer answer = assay::check::answer(*asked, flags.contract);
    if (answer.verdict != assay::diff::Verdict::pass) continue;
    answer.sentence += fmt::format("; read as (heads, tokens, channels): {}", names);
    question = std::move(*asked);
    return answer;
  }
  return std::nullopt;
}

int check_operation(const CheckFlags& flags, const assay::op::Program& program, size_t index,
                    const Arrays& arrays, const std::vector<uint32_t>& positions) {
  const assay::op::Operation& operation = program.operations[index];
  if (operation.is<assay::op::Rope>() && arrays.inputs.empty() && !arrays.output) {
    if (positions.empty()) return report(wrong_usage("RoPE's table needs --positions"));
    if (const auto good = check_angles(program, operation, positions); !good)
      return report(good.error());
    print_rope_table(program.rope_of(operation), positions, flags.json);
    return 0;
  }
  auto question = make_question(flags, program, index, arrays, positions);
  if (!question) return report(question.error());
  if (!arrays.output && flags.json) return report(wrong_usage("--json needs --output"));
  if (!arrays.output || !flags.expected.empty()) {
    const int written = give_expected(flags, *question);
    if (!arrays.output || written != 0) return written;
  }
  Progress bar("judge the output");
  Answer answer = assay::check::answer(*question, flags.contract);
  if (answer.verdict == assay::diff::Verdict::fail)
    if (auto other = other_layouts(flags, program, index, arrays, positions, *question))
      answer = std::move(*other);
  bar.erase();
  if (flags.json)
    fmt::print("{}\n", assay::check::to_json(*question, answer));
  else
    print_answer(*question, answer);
  return int(answer.verdict == assay::diff::Verdict::pass   ? Exit::done
             : answer.verdict == assay::diff::Verdict::fail ? Exit::negative
                                                            : Exit::cannot);
}

int check(const CheckFlags& flags) {
  const auto positions = parse_positions(flags.positions);
  if (!positions) return report(positions.error());
  const auto arrays = read_arrays(flags);
  if (!arrays) return report(arrays.error());
  if (!flags.kind.empty()) {
    if (!flags.first.empty() || !flags.model.empty())
      return report(wrong_usage("--op cannot be combined with a model"));
    const auto made = make_operation(flags, arrays->inputs, positions->size());
    if (!made) return report(made.error());
    return check_operation(flags, made->program, 0, *arrays, *positions);
  }
  const bool both = !flags.second.empty();
  const std::string& name = both ? flags.second : flags.first;
  if (name.empty() || (both && !flags.model.empty()))
    return report(wrong_usage("give MODEL and NAME, or --op"));
  std::error_code ignored;
  if (!both && flags.model.empty() && std::filesystem::exists(name, ignored))
    return report({fmt::format("'{}' is a file; give NAME after it", name)});
  const auto path = resolve_model(both ? flags.first : flags.model);
  if (!path) return report(path.error());
  const auto file = assay::gguf::File::open(*path);
  if (!file) return report(file.error());
  const auto program = assay::model::build(*file, flags.context);
  if (!program) return report(program.error());
  const auto index = assay::check::find_operation(*program, name);
  if (!index) return report(index.error());
  return check_operation(flags, *program, *index, *arrays, *positions);
}

}  // namespace

void add_check(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<CheckFlags>();
  CLI::App* command =
      app.add_subcommand("check", "Judge one kernel's output: is it right, and if not, why");
  command->add_option("model", flags->first, "GGUF file or known model; alone: NAME")
      ->type_name("[MODEL]");
  command->add_option("-m,--model", flags->model, "the model, if not the first argument")
      ->type_name("MODEL");
  add_context_flag(*command, flags->context);
  command->add_option("name", flags->second, "operation or tensor: blk.0.attn_q, blk.3.kqv, logits")
      ->type_name("NAME");
  const char* kernel = "What the kernel did";
  command->add_option("--input", flags->inputs, "what the kernel read; several in order")
      ->type_name("NPY")
      ->group(kernel)
      ->allow_extra_args(false);
  command->add_option("--output", flags->output, "what it gave")->type_name("NPY")->group(kernel);
  command->add_option("--expected", flags->expected, "write what it must give")->type_name("NPY");
  command
      ->add_option("--contract", flags->contract,
                   "its arithmetic: f32, assay/1, ggml-cpu, ggml-cuda (default: found by trying)")
      ->check(CLI::IsMember({"f32", "assay/1", "ggml-cpu", "ggml-cuda"}));
  command->add_option("--positions", flags->positions, "rope, attention: 5,6 or 0-6")
      ->type_name("LIST")
      ->group(kernel);
  command->add_option("--tokens", flags->tokens, "embed: token ids")
      ->type_name("LIST")
      ->group(kernel);
  command->add_option("--kv", flags->cache, "attention: the cache's type (default: the contract's)")
      ->check(CLI::IsMember({"f16", "f32"}));
  command->add_flag("--json", flags->json, "schema assay.check/1");
  add_operation_flags(*command, *flags);
  command->callback([flags, &exit_code] { exit_code = check(*flags); });
}
