// assay check --op: an operation made of flags, and RoPE's table.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "check.h"
#include "common.h"
#include "op/kinds.h"
#include "op/rope.h"
#include "quant/formats.h"

using assay::Error;
using assay::Result;
using assay::check::Parts;
namespace op = assay::op;
using assay::trace::Npy;
using assay::trace::NpyType;

namespace {

/// The kinds that can be judged: all that do more than move values.
std::string kind_names() {
  std::string names;
  for (const std::string_view name : op::kind_names())
    if (!op::row_of(*op::parameters_named(name)).moves)
      names += (names.empty() ? "" : ", ") + std::string(name);
  return names;
}

std::optional<uint32_t> type_named(const std::string& name) {
  for (uint32_t id = 0; id < 64; ++id)
    if (assay::quant::info(id).block_size && assay::quant::info(id).name == name) return id;
  return std::nullopt;
}

/// Rows of numbers, or of the bytes of a GGUF format.
Result<assay::op::Weight> weight_of(const Npy& array, const std::string& type,
                                    const std::string& path) {
  const auto refuse = [&](const std::string& why) {
    return Error{fmt::format("{}: {}", path, why)};
  };
  const auto id = type_named(type);
  if (!id)
    return Error{fmt::format("--type: unknown weight format '{}'; known: {}", type,
                             assay::quant::supported_names())};
  if (array.shape.empty() || array.shape.size() > 2 || array.elements() == 0)
    return refuse(fmt::format("its shape is {}; a weight is (rows, columns)",
                              assay::trace::shape_text(array.shape)));
  assay::op::Weight weight{"weight", *id, array.elements() / array.shape.back(), array.shape.back(),
                           array.bytes};
  if (array.type == NpyType::u1) {
    const auto info = assay::quant::info(*id);
    if (weight.columns % info.block_bytes)
      return refuse(
          fmt::format("rows of {} bytes are not a whole number of {} blocks of {} bytes each",
                      weight.columns, info.name, info.block_bytes));
    weight.columns = weight.columns / info.block_bytes * info.block_size;
  } else if (*id != assay::quant::F32::id) {
    return refuse("--type is only for a weight of raw bytes (u1)");
  } else if (array.type == NpyType::f2) {
    weight.type = assay::quant::F16::id;
  } else if (array.type != NpyType::f4) {
    return refuse("a weight must be f4, f2, or u1 with --type");
  }
  if (weight.rows > UINT32_MAX || weight.columns > UINT32_MAX) return refuse("it is too wide");
  return weight;
}

/// How many values a row of this input has.
uint64_t width_of(const Npy& array, size_t positions) {
  const uint64_t rows = positions ? positions : array.shape.size() > 1 ? array.shape[0] : 1;
  return rows ? array.elements() / rows : 0;
}

/// A flag that the operation needs or doesn't know; empty: none.
std::string wrong_flag(const CheckFlags& flags, const op::Parameters& of) {
  const op::KindRow& row = op::row_of(of);
  const bool weighted = row.weight != op::WeightShape::absent;
  if (weighted && !row.optional && flags.weight.empty()) return "needs --weight";
  if (!weighted && !flags.weight.empty()) return "has no --weight";
  if (!row.bias && !flags.bias.empty()) return "has no --bias";
  if (std::holds_alternative<op::Rope>(of) && flags.dim == 0) return "needs --dim";
  if (std::holds_alternative<op::Attend>(of) && (flags.dim == 0 || flags.heads == 0))
    return "needs --heads and --dim";
  if (std::holds_alternative<op::PositionScale>(of) && flags.every == 0)
    return "needs --slope and --every";
  return {};
}

/// Numbers that a flag of another meaning or another name stands for.
bool has_own_flag(std::string_view name) {
  return name == "heads" || name == "parts" || name == "scale";
}

/// "alpha_p" as a flag.
std::string flag_of(std::string_view name) {
  std::string flag = "--" + std::string(name);
  std::ranges::replace(flag, '_', '-');
  return flag;
}

/// A number that kinds have of their own, in the widest range of any.
struct OwnNumber {
  double low = 0, high = 0;
  std::string kinds;
};
std::map<std::string, OwnNumber> own_numbers() {
  std::map<std::string, OwnNumber> all;
  for (const std::string_view kind : op::kind_names()) {
    op::Parameters of = *op::parameters_named(kind);
    if (op::row_of(of).moves) continue;
    op::each_number(of, [&](const op::Number& is, auto) {
      if (has_own_flag(is.name)) return;
      OwnNumber& own = all.try_emplace(is.name, OwnNumber{is.low, is.high, ""}).first->second;
      own.low = std::min(own.low, is.low);
      own.high = std::max(own.high, is.high);
      own.kinds += (own.kinds.empty() ? "" : ", ") + std::string(kind);
    });
  }
  return all;
}

/// The flags that stand for an operation's own numbers, by the number's name. A real number has no
/// default but a factor's, 1.
std::string fill_numbers(const CheckFlags& flags, op::Parameters& of) {
  std::string wrong;
  const auto say = [&](std::string what) {
    if (wrong.empty()) wrong = std::move(what);
  };
  op::each_number(of, [&](const op::Number& is, auto& value) {
    using Value = std::decay_t<decltype(value)>;
    const std::string_view name = is.name;
    if (name == "heads") return;
    if (name == "parts" && flags.heads) value = Value(flags.heads);
    if (name == "scale" && flags.scale != 0) value = Value(flags.scale);
    if (has_own_flag(name)) return;
    const auto given = flags.numbers.find(is.name);
    if (given == flags.numbers.end() && !std::is_integral_v<Value> && name != "factor")
      return say(fmt::format("needs {}", flag_of(name)));
    if (given != flags.numbers.end()) value = Value(given->second);
    if (!(double(value) >= is.low && double(value) <= is.high))
      say(fmt::format("takes a {} from {} to {}", flag_of(name), is.low, is.high));
  });
  for (const auto& [name, value] : flags.numbers) {
    bool known = false;
    op::each_number(of, [&](const op::Number& is, auto) { known = known || name == is.name; });
    if (!known) say(fmt::format("has no {}", flag_of(name)));
  }
  return wrong;
}

/// In how many parts, each of its weight's width, a kind cuts a row.
uint32_t parts_of_row(const op::Parameters& of) {
  uint32_t parts = 1;
  op::each_number(of, [&](const op::Number& is, auto value) {
    if (std::string_view(is.name) == "parts") parts = uint32_t(value);
  });
  return parts;
}

Result<assay::op::RopeTable> rope_of(const CheckFlags& flags) {
  if (flags.dim % 2) return Error{fmt::format("--dim: {} lanes are not pairs", flags.dim)};
  assay::op::RopeParameters rope;
  rope.dimensions = flags.dim;
  rope.base = flags.base;
  rope.factor = flags.linear;
  if (flags.linear != 1) rope.scaling = assay::op::RopeScaling::linear;
  return assay::op::make_rope(rope, flags.pairing == "adjacent");
}

/// What attention needs beside its heads.
void fill_attention(const CheckFlags& flags, op::Parameters& of) {
  auto* attend = std::get_if<op::Attend>(&of);
  if (!attend) return;
  attend->window = flags.window;
  attend->chunked = flags.chunked;
  attend->soft_cap = float(flags.soft_cap);
  attend->alibi = float(flags.alibi);
}

/// Of each input: as the weight says, else as its file does.
void fill_widths(const std::vector<Npy>& inputs, size_t positions, Parts& parts) {
  const op::KindRow& row = op::row_of(parts.of);
  const auto of_file = [&](size_t i) {
    return i < inputs.size()
               ? uint32_t(std::min<uint64_t>(width_of(inputs[i], positions), UINT32_MAX))
               : 0u;
  };
  const uint32_t columns = uint32_t(parts.weight.columns);
  if (row.inputs > 1) {
    parts.width = of_file(0);
    parts.second = of_file(1);
  } else if (row.weight == op::WeightShape::matrix) {
    parts.width = columns;
  } else if (row.weight == op::WeightShape::vector && columns) {
    // A norm's weight is of one part, or of a whole row.
    parts.width = of_file(0) == columns ? columns : columns * parts_of_row(parts.of);
  } else {
    parts.width = of_file(0);
  }
  if (std::holds_alternative<op::Attend>(parts.of)) parts.width = parts.heads * parts.head_dim;
}

/// The files of --weight and --bias.
assay::Status read_weights(const CheckFlags& flags, MadeOperation& made, Parts& parts) {
  made.arrays.reserve(2);  // the weights are views of them
  const auto read = [&](const std::string& path, const std::string& type,
                        assay::op::Weight& weight) -> assay::Status {
    if (path.empty()) return assay::ok();
    auto array = assay::trace::read_npy(path);
    if (!array) return array.error();
    made.arrays.push_back(std::move(*array));
    auto found = weight_of(made.arrays.back(), type, path);
    if (!found) return found.error();
    weight = *found;
    return assay::ok();
  };
  if (const auto done = read(flags.weight, flags.weight_type, parts.weight); !done) return done;
  if (const auto done = read(flags.bias, "F32", parts.bias); !done) return done;
  parts.bias.name = "bias";
  return assay::ok();
}

}  // namespace

Result<MadeOperation> make_operation(const CheckFlags& flags, const std::vector<Npy>& inputs,
                                     size_t positions) {
  auto of = op::parameters_named(flags.kind);
  if (!of || op::row_of(*of).moves)
    return Error{fmt::format("--op: unknown operation '{}'; known: {}", flags.kind, kind_names())};
  for (const std::string& wrong : {wrong_flag(flags, *of), fill_numbers(flags, *of)})
    if (!wrong.empty()) return Error{fmt::format("--op {} {}", flags.kind, wrong)};
  MadeOperation made;
  Parts parts;
  fill_attention(flags, *of);
  parts.of = *of;
  parts.heads = flags.heads;
  parts.kv_heads = flags.kv_heads ? flags.kv_heads : flags.heads;
  parts.scale = float(flags.scale);
  // A product's heads matter to one hypothesis only: that their rows are permuted.
  parts.head_dim = flags.dim ? flags.dim : 64;
  parts.value_dim = flags.value_dim ? flags.value_dim : parts.head_dim;
  if (const auto done = read_weights(flags, made, parts); !done) return done.error();
  fill_widths(inputs, positions, parts);
  if (std::holds_alternative<op::PositionScale>(*of))
    parts.rope = op::make_growth({flags.slope, flags.every, flags.offset});
  if (std::holds_alternative<op::Rope>(*of)) {
    auto rope = rope_of(flags);
    if (!rope) return rope.error();
    parts.rope = std::move(*rope);
    if (inputs.empty()) parts.width = flags.dim;
    if (!inputs.empty() && positions == 0 && inputs[0].shape.size() > 2 && inputs[0].shape[0] == 1)
      return Error{fmt::format("{}: does its shape {} mean one token? Give --positions",
                               flags.inputs[0], assay::trace::shape_text(inputs[0].shape))};
    parts.head_dim = flags.heads ? parts.width / flags.heads : flags.dim;
    if (flags.heads == 0) parts.heads = parts.width / flags.dim;
  }
  auto program = assay::check::program_of(parts);
  if (!program) return program.error();
  made.program = std::move(*program);
  return made;
}

void add_operation_flags(CLI::App& command, CheckFlags& flags) {
  const std::string group = "With --op";
  const auto number = [&](const char* name, auto& value, double low, double high,
                          const char* text) {
    command.add_option(name, value, text)->type_name("N")->check(between(low, high))->group(group);
  };
  command.add_option("--op", flags.kind, "an operation without a model: " + kind_names())
      ->type_name("KIND")
      ->group(group);
  command.add_option("--weight", flags.weight, "(rows, columns) f4 or f2, or u1 with --type")
      ->type_name("NPY")
      ->group(group);
  command.add_option("--type", flags.weight_type, "the format of a weight's bytes: Q4_K, …")
      ->type_name("NAME")
      ->group(group);
  command.add_option("--bias", flags.bias, "f4: one row, or one for each expert")
      ->type_name("NPY")
      ->group(group);
  number("--base", flags.base, 1, 1e12, "rope (default 10000)");
  number("--dim", flags.dim, 1, 65536, "rope: lanes that turn; attention: lanes of a head");
  number("--heads", flags.heads, 1, 65536,
         "rope (default: heads of --dim lanes), attention, norms per head");
  number("--kv-heads", flags.kv_heads, 1, 65536, "attention (default: as heads)");
  number("--value-dim", flags.value_dim, 1, 65536, "attention (default: as --dim)");
  number("--scale", flags.scale, 1e-6, 1e6, "attention (default 1/√dim), route (default 1)");
  number("--window", flags.window, 1, UINT32_MAX, "attention: keys that a query sees");
  command.add_flag("--chunked", flags.chunked, "attention: windows begin at multiples of --window")
      ->group(group);
  number("--soft-cap", flags.soft_cap, 1e-6, 1e30, "attention");
  number("--alibi", flags.alibi, 1e-6, 1024, "attention: the largest exponent of the slopes");
  number("--slope", flags.slope, -1e6, 1e6, "position_scale");
  number("--every", flags.every, 1, UINT32_MAX, "position_scale");
  number("--offset", flags.offset, 0, UINT32_MAX, "position_scale");
  for (const auto& [name, is] : own_numbers())
    command
        .add_option_function<double>(
            flag_of(name), [&flags, name = name](double value) { flags.numbers[name] = value; },
            is.kinds)
        ->type_name("N")
        ->check(between(is.low, is.high))
        ->group(group);
  number("--linear", flags.linear, 1e-3, 1e6, "rope: positions are divided by this");
  command.add_option("--pairing", flags.pairing, "rope: lanes (2i, 2i+1), or (i, i + dim/2)")
      ->check(CLI::IsMember({"adjacent", "half"}))
      ->capture_default_str()
      ->group(group);
}

void print_rope_table(const assay::op::RopeTable& rope, const std::vector<uint32_t>& positions,
                      bool json) {
  std::vector<float> turns(rope.dimensions);
  nlohmann::ordered_json table = nlohmann::ordered_json::array();
  if (!json)
    fmt::print("{:>8} {:>5} {:>9} {:>24} {:>24} {:>16} {:>16}\n", "position", "pair", "lanes",
               "frequency", "angle", "cos", "sin");
  for (const uint32_t position : positions) {
    assay::op::rope_row(rope, position, turns);
    for (uint32_t i = 0; i < rope.dimensions / 2; ++i) {
      const uint32_t first = rope.adjacent ? 2 * i : i;
      const uint32_t second = rope.adjacent ? first + 1 : i + rope.dimensions / 2;
      const double angle = double(position) * rope.frequency[i];
      if (json)
        table.push_back({{"position", position},
                         {"pair", i},
                         {"lanes", {first, second}},
                         {"frequency", rope.frequency[i]},
                         {"angle", angle},
                         {"cos", turns[2 * i]},
                         {"sin", turns[2 * i + 1]}});
      else
        fmt::print("{:>8} {:>5} {:>9} {:>24.17g} {:>24.17g} {:>16.9g} {:>16.9g}\n", position, i,
                   fmt::format("{},{}", first, second), rope.frequency[i], angle, turns[2 * i],
                   turns[2 * i + 1]);
    }
  }
  if (json)
    fmt::print("{}\n", nlohmann::ordered_json{{"schema", "assay.check/1"},
                                              {"pairing", rope.adjacent ? "adjacent" : "half"},
                                              {"table", table}}
                           .dump(2));
}
