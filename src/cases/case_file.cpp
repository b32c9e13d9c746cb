#include "cases/case_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "base/json.h"
#include "base/read_file.h"
#include "cases/fields.h"
#include "op/kinds.h"
#include "op/rope.h"
#include "quant/formats.h"
#include "trace/safetensors.h"
#include "trace/safetensors_file.h"

namespace assay::cases {

using judge::Table;
using Json = nlohmann::ordered_json;
using judge::Coding;

namespace {

constexpr std::string_view format = "assay.case/1";
constexpr uint64_t most_tokens = 1 << 20;
constexpr uint64_t most_width = 1 << 24;
constexpr double most_angle = 0x1p24;  // what op::sin_cos takes
constexpr float most_alibi = 1024;

// A coding of floats is called by their type; "exact" is f32.
constexpr std::array<std::string_view, 7> coding_kinds = {"exact", "tf32", "f16",     "bf16",
                                                          "e4m3",  "e5m2", "integers"};
constexpr std::array<std::string_view, 7> types = {"f64",  "f32",  "tf32", "f16",
                                                   "bf16", "e4m3", "e5m2"};
constexpr std::array<std::string_view, 3> scales = {"block", "row", "tensor"};
constexpr std::array<std::string_view, 6> roundings = {"even_of_product",  "away_of_product",
                                                       "away_of_quotient", "signed_maximum",
                                                       "even_of_stored",   "four_bits"};
constexpr std::array<std::string_view, 3> sums = {"codes", "codes_f16", "values_f16"};
// ------------------------------------------------------------------------------------- writing

Json operation_json(const Case& the) {
  const op::Operation& o = the.operation();
  Json json = {{"kind", op::name_of(o)},
               {"name", o.name},
               {"layer", the.layer == op::none ? Json(nullptr) : Json(the.layer)}};
  op::each_number(o.of, [&](const op::Number& is, auto value) { json[is.name] = value; });
  if (const auto* embed = o.as<op::Embed>(); embed && embed->of_position)
    json["of_position"] = true;
  return json;
}

Json weight_json(const Case& the, const op::Weight& weight) {
  Json json = {{"name", weight.name},
               {"type", quant::info(weight.type).name},
               {"columns", weight.columns},
               {"rows", the.whole_rows}};
  if (the.expert_rows) json["expert_rows"] = the.expert_rows;
  return json;
}

Json attention_json(const op::AttentionShape& a) {
  Json json = {{"heads", a.heads},
               {"kv_heads", a.kv_heads},
               {"key_dim", a.key_dim},
               {"value_dim", a.value_dim},
               {"scale", a.scale}};
  if (a.window) json.update({{"window", a.window}, {"chunked", a.chunked}});
  if (a.soft_cap != 0) json["soft_cap"] = a.soft_cap;
  if (a.alibi != 0) json["alibi"] = a.alibi;
  return json;
}

Json growth_json(const op::PositionGrowth& growth) {
  return {{"slope", growth.slope}, {"every", growth.every}, {"offset", growth.offset}};
}

Json coding_json(const Coding& c) {
  const bool integers = c.kind == Coding::Kind::integers;
  Json json = {{"kind", integers ? coding_kinds.back() : coding_kinds[size_t(c.type) - 1]},
               {"block", c.block},
               {"rounding", roundings[size_t(c.rounding)]},
               {"scale_is_f16", c.scale_is_f16},
               {"sums", sums[size_t(c.sums)]},
               {"products_are_f16", c.products_are_f16},
               {"offset_meets_sums", c.offset_meets_sums},
               {"zero_below", c.zero_below}};
  if (c.is_plain() || c.meets_codes()) return json;
  json.update({{"cut", c.cut},
               {"scaled", c.scaled},
               {"scale", scales[size_t(c.scale)]},
               {"decoded", c.decoded},
               {"weights", name_of(c.weights)},
               {"products", name_of(c.products)},
               {"accumulated", name_of(c.accumulated)}});
  return json;
}

/// The contract says the rest.
Json arithmetic_json(const judge::Arithmetic& a) {
  return {{"own", a.own}, {"kv", name_of(a.kv)}, {"goes_on_in_f64", a.goes_on_in_f64}};
}

Json seen_json(const judge::Seen& seen) {
  return {{"token", seen.token},
          {"row", seen.row},
          {"error_u", json_number(seen.max_u)},
          {"limit_u", json_number(seen.limit_u)},
          {"count", seen.failures},
          {"of", seen.elements}};
}

/// Tensors with the bytes that they view.
class Tensors {
 public:
  void add_f32(const std::string& name, const Table& table) {
    put<float>(name, "F32", {table.rows, table.width}, table.data);
  }
  void add_f64(const std::string& name, const Table& table) {
    put<double>(name, "F64", {table.rows, table.width}, table.data);
  }
  void add_rows(const std::vector<uint64_t>& rows) {
    put<int64_t>("rows", "I64", {rows.size()}, rows);
  }
  void add_weight(const std::string& name, const op::Weight& weight) {
    tensors_.push_back({name, "U8", {weight.rows, weight.row_bytes()}, weight.data});
  }
  std::span<const trace::SafeTensor> all() const { return tensors_; }

 private:
  template <class T, class Numbers>
  void put(const std::string& name, const char* type, std::vector<uint64_t> shape,
           const Numbers& numbers) {
    auto bytes = std::make_unique<std::vector<uint8_t>>(numbers.size() * sizeof(T));
    for (size_t i = 0; i < numbers.size(); ++i) {
      const T value = T(numbers[i]);
      std::memcpy(bytes->data() + i * sizeof(T), &value, sizeof(T));
    }
    tensors_.push_back({name, type, std::move(shape), *bytes});
    kept_.push_back(std::move(bytes));
  }

  std::vector<trace::SafeTensor> tensors_;
  std::vector<std::unique_ptr<std::vector<uint8_t>>> kept_;
};

/// The cache's rows of one kind.
Table table_of(const std::vector<std::vector<double>>& rows) {
  Table table(rows.size(), rows.empty() ? 0 : rows[0].size());
  for (size_t i = 0; i < rows.size(); ++i) std::ranges::copy(rows[i], table.row(i).begin());
  return table;
}

}  // namespace

Status write_case(const Case& the, const std::string& path) {
  const op::Operation& operation = the.operation();
  const op::Program& program = the.program;
  std::map<std::string, std::string> metadata = {
      {"format", std::string(format)},
      {"engine", the.engine},
      {"contract", the.scene.contract},
      {"version", the.version},
      {"step", std::to_string(the.scene.step)},
      {"tokens", Json(the.tokens).dump()},
      {"positions", Json(the.scene.tokens.positions).dump()},
      {"selected", Json(the.scene.tokens.selected).dump()},
      {"operation", operation_json(the).dump(-1, ' ', false, Json::error_handler_t::replace)},
      {"coding", coding_json(the.scene.coding).dump()},
      {"arithmetic", arithmetic_json(the.scene.arithmetic).dump()},
      {"first", seen_json(the.seen).dump()}};
  Tensors tensors;
  for (size_t i = 0; i < the.scene.inputs.size(); ++i)
    tensors.add_f32(fmt::format("input.{}", i), the.scene.inputs[i]);
  tensors.add_f32("output", the.output());
  tensors.add_f64("expected", the.expected);
  tensors.add_f64("allowed", the.allowed);
  if (operation.weight != op::none) {
    const op::Weight& weight = program.weights[operation.weight];
    metadata["weight"] =
        weight_json(the, weight).dump(-1, ' ', false, Json::error_handler_t::replace);
    tensors.add_weight("weight", weight);
    if (!the.rows.empty()) tensors.add_rows(the.rows);
  }
  if (operation.bias != op::none) tensors.add_weight("bias", program.weights[operation.bias]);
  if (op::row_of(operation).cache)
    metadata["attention"] = attention_json(program.attention_of(operation)).dump();
  if (operation.is<op::Attend>()) {
    tensors.add_f32("cache.keys", table_of(the.scene.caches[0].keys));
    tensors.add_f32("cache.values", table_of(the.scene.caches[0].values));
  }
  if (operation.is<op::Rope>()) {
    const op::RopeTable& rope = program.rope_of(operation);
    metadata["rope"] = Json{
        {"dimensions", rope.dimensions},
        {"adjacent", rope.adjacent},
        {"magnitude",
         rope.magnitude}}.dump();
    Table frequency(1, rope.frequency.size());
    frequency.data = rope.frequency;
    tensors.add_f64("rope.frequency", frequency);
  }
  if (const auto* p = operation.as<op::PositionScale>())
    metadata["growth"] = growth_json(*program.rope_tables[p->table].growth).dump();
  return trace::write_safetensors(path, tensors.all(), metadata);
}

// ------------------------------------------------------------------------------------- reading

namespace {

/// Reads a case, and keeps the first thing that is wrong with it.
class Reader {
 public:
  Reader(const trace::SafeTensors& file, Case& the) : file_(file), the_(the) {}

  std::string read();

 private:
  std::string text(const std::string& key) const {
    const auto found = file_.metadata.find(key);
    return found == file_.metadata.end() ? "" : found->second;
  }
  Fields object(const std::string& key) { return Fields(text(key), key, problem_); }
  void fail(std::string what) {
    if (problem_.empty()) problem_ = std::move(what);
  }

  Table table(const std::string& name);
  void read_step();
  void read_operation();
  void read_contract();
  void read_inputs();
  void read_weight();
  void read_rows();
  void read_rope();
  void read_growth();
  void read_attention();
  void read_cache();
  void read_results();

  const trace::SafeTensors& file_;
  Case& the_;
  op::Operation operation_;
  std::string problem_;
};

/// (rows, width), none of them 0; F32 or F64.
Table Reader::table(const std::string& name) {
  const trace::StoredTensor* tensor = file_.find(name);
  if (!tensor || tensor->shape.size() != 2 || tensor->elements == 0 ||
      (tensor->dtype != "F32" && tensor->dtype != "F64") || tensor->shape[1] > most_width) {
    fail(fmt::format("'{}' is missing, or no (rows, width) of F32 or F64", name));
    return {};
  }
  Table out(tensor->shape[0], tensor->shape[1]);
  for (uint64_t i = 0; i < out.data.size(); ++i) {
    if (tensor->dtype == "F64") {
      std::memcpy(&out.data[i], tensor->bytes.data() + 8 * i, 8);
    } else {
      float value;
      std::memcpy(&value, tensor->bytes.data() + 4 * i, 4);
      out.data[i] = double(value);
    }
  }
  return out;
}

void Reader::read_step() {
  trace::TraceStep& step = the_.scene.tokens;
  const auto list = [&](const char* key, auto& out, uint64_t limit) {
    if (!read_list(text(key), out, limit, most_tokens))
      fail(fmt::format("{} is not a list of numbers below {}", key, limit + 1));
  };
  list("tokens", the_.tokens, INT32_MAX);
  list("positions", step.positions, 1 << 24);
  list("selected", step.selected, the_.tokens.empty() ? 0 : the_.tokens.size() - 1);
  step.tokens = the_.tokens;
  if (the_.tokens.empty() || step.positions.size() != the_.tokens.size())
    fail("tokens and positions are not lists of the same length");
  if (!std::ranges::is_sorted(step.selected, std::less_equal{})) fail("selected is not ascending");
  for (size_t i = 1; i < step.positions.size(); ++i)
    if (step.positions[i] != step.positions[i - 1] + 1) fail("the positions are not consecutive");
  uint64_t number = 0;
  if (!read_number(text("step"), number, UINT32_MAX)) fail("step is not a number");
  the_.scene.step = uint32_t(number);
}

void Reader::read_operation() {
  Fields f = object("operation");
  const std::string kind = f.text("kind");
  const auto of = op::parameters_named(kind);
  if (!of) return fail(fmt::format("its operation has an unknown kind '{:.32}'", kind));
  operation_.of = *of;
  operation_.name = f.text("name");
  the_.layer = f.is_null("layer") ? op::none : uint32_t(f.integer("layer", 0, 1 << 20));
  op::each_number(operation_.of, [&](const op::Number& is, auto& value) {
    using Value = std::decay_t<decltype(value)>;
    if (!f.has(is.name) && double(value) >= is.low) return;  // as it is unless said otherwise
    if constexpr (std::is_integral_v<Value>)
      value = Value(f.integer(is.name, uint64_t(is.low), uint64_t(is.high)));
    else
      value = Value(f.number(is.name));
  });
  if (auto* embed = operation_.as<op::Embed>(); embed && f.has("of_position"))
    embed->of_position = f.flag("of_position");
  operation_.layer = 0;
  Fields first = object("first");
  the_.seen.token = first.integer("token", 0, UINT32_MAX);
  the_.seen.row = first.integer("row", 0, UINT32_MAX);
  the_.seen.failures = first.integer("count", 0, UINT64_MAX / 2);
  the_.seen.elements = first.integer("of", 0, UINT64_MAX / 2);
  the_.seen.max_u = first.is_null("error_u") ? INFINITY : first.number("error_u");
  the_.seen.limit_u = first.is_null("limit_u") ? INFINITY : first.number("limit_u");
}

void Reader::read_contract() {
  Fields c = object("coding");
  Coding& coding = the_.scene.coding;
  const size_t kind = c.choice("kind", coding_kinds);
  if (kind + 1 == coding_kinds.size())
    coding.kind = Coding::Kind::integers;
  else
    coding.type = judge::NumberType(kind + 1);
  if (c.has("decoded")) {
    coding.cut = c.flag("cut");
    coding.scaled = c.flag("scaled");
    coding.scale = Coding::Scale(c.choice("scale", scales));
    coding.decoded = c.flag("decoded");
    coding.weights = judge::NumberType(c.choice("weights", types));
    coding.products = judge::NumberType(c.choice("products", types));
    coding.accumulated = judge::NumberType(c.choice("accumulated", types));
  }
  coding.block = uint32_t(c.integer("block", 1, 1 << 16));
  if (coding.meets_codes() && coding.block != 32 && coding.block != 256)
    fail("the coding's block is not 32 or 256");
  coding.rounding = Coding::Rounding(c.choice("rounding", roundings));
  coding.scale_is_f16 = c.flag("scale_is_f16");
  coding.sums = Coding::Sums(c.choice("sums", sums));
  coding.products_are_f16 = c.flag("products_are_f16");
  coding.offset_meets_sums = c.flag("offset_meets_sums");
  if (c.has("zero_below")) coding.zero_below = c.number("zero_below");
  Fields a = object("arithmetic");
  the_.scene.contract = text("contract");
  const auto contract = judge::contract_of(the_.scene.contract);
  if (!contract) fail(fmt::format("the contract '{:.64}' is unknown", the_.scene.contract));
  // Older files only say whether the cache is of f16.
  const std::string kv = a.has("kv") ? a.text("kv") : a.flag("f16_cache") ? "f16" : "f32";
  if (!judge::coding_named(kv)) fail(fmt::format("the cache's type '{:.32}' is unknown", kv));
  the_.scene.arithmetic = judge::arithmetic_of(contract.value_or(judge::Contract{}), "", kv);
  the_.scene.arithmetic.own = a.flag("own");
  the_.scene.arithmetic.goes_on_in_f64 = a.flag("goes_on_in_f64");
  the_.engine = text("engine");
  the_.version = text("version");
}

void Reader::read_inputs() {
  for (size_t i = 0; i < op::row_of(operation_).inputs && problem_.empty(); ++i) {
    the_.scene.inputs.push_back(table(fmt::format("input.{}", i)));
    const Table& input = the_.scene.inputs.back();
    if (input.rows != the_.tokens.size())
      fail(fmt::format("input.{} does not have one row per token", i));
    operation_.inputs.push_back(
        the_.program.add_value(fmt::format("input.{}", i), uint32_t(input.width)));
  }
  the_.scene.output = table("output");
  const uint64_t rows =
      operation_.is<op::SelectRows>() ? the_.scene.tokens.selected.size() : the_.tokens.size();
  if (the_.scene.output.rows != rows) fail("the output does not have one row per token");
  if (!operation_.is<op::KvStore>())
    operation_.output = the_.program.add_value(operation_.name, uint32_t(the_.scene.output.width));
}

/// A weight and a bias, (rows, row_bytes) of U8.
void Reader::read_weight() {
  const op::KindRow& row = op::row_of(operation_);
  const auto add = [&](const std::string& name, uint32_t type, uint64_t columns) {
    const trace::StoredTensor* tensor = file_.find(name);
    const quant::Info info = quant::info(type);
    const bool whole = info.block_size > 0 && columns > 0 && columns % info.block_size == 0;
    if (!tensor || !whole || tensor->dtype != "U8" || tensor->shape.size() != 2 ||
        tensor->shape[0] == 0 || tensor->shape[0] > most_width ||
        tensor->shape[1] != columns / info.block_size * info.block_bytes) {
      fail(fmt::format("'{}' is missing, or its bytes are not whole rows of its type", name));
      return op::none;
    }
    // A copy: a weight's bytes must lie as its numbers need it.
    the_.bytes.push_back(
        std::make_shared<std::vector<uint8_t>>(tensor->bytes.begin(), tensor->bytes.end()));
    return the_.program.add_weight({name, type, tensor->shape[0], columns, *the_.bytes.back()});
  };
  if (row.weight != op::WeightShape::absent && !(row.optional && !file_.find("weight"))) {
    Fields w = object("weight");
    const std::string name = w.text("type");
    uint32_t type = quant::F32::id;
    bool known = false;
    for (uint32_t id = 0; id < 64 && !known; ++id)
      if (quant::info(id).block_size > 0 && quant::info(id).name == name) known = true, type = id;
    if (!known) fail(fmt::format("the weight's type '{:.32}' is unknown", name));
    if (row.weight == op::WeightShape::vector && type != quant::F32::id)
      fail("a row of weights is not F32");
    the_.whole_rows = w.integer("rows", 1, UINT32_MAX);
    if (operation_.is<op::MatmulExperts>())
      the_.expert_rows = w.integer("expert_rows", 1, UINT32_MAX);
    operation_.weight = add("weight", type, w.integer("columns", 1, most_width));
    if (operation_.weight != op::none) {
      the_.program.vocabulary = uint32_t(the_.program.weights[operation_.weight].rows);
      if (quant::info(type).block_size == 1 && the_.scene.coding.meets_codes())
        fail("the coding is of integers, and the weight's format has no blocks");
    }
  }
  if (const trace::StoredTensor* bias = file_.find("bias"); row.bias && bias)
    operation_.bias =
        add("bias", quant::F32::id, bias->shape.size() == 2 ? bias->shape[1] / sizeof(float) : 0);
  read_rows();
}

void Reader::read_rows() {
  const bool looked_up = op::row_of(operation_).weight == op::WeightShape::table;
  const trace::StoredTensor* tensor = file_.find("rows");
  if (!tensor || operation_.weight == op::none) {
    if (looked_up) fail("'rows' are missing: which tokens the weight's rows are of");
    return;
  }
  const uint64_t rows = the_.program.weights[operation_.weight].rows;
  if (tensor->dtype != "I64" || tensor->elements != rows)
    return fail("'rows' does not have one I64 per row of the weight");
  the_.rows.resize(rows);
  std::memcpy(the_.rows.data(), tensor->bytes.data(), 8 * rows);
  if (!std::ranges::is_sorted(the_.rows, std::less_equal{}) || the_.rows.back() >= the_.whole_rows)
    return fail("'rows' do not ascend within the weight");
  if (const auto* experts = operation_.as<op::MatmulExperts>();
      experts && rows % experts->experts != 0)
    return fail("the rows are not those of equal experts");
  if (!looked_up) return;
  if (operation_.as<op::Embed>()->of_position) {  // positions are indices already
    if (the_.scene.tokens.positions.back() >= rows)
      fail("a position is beyond the rows of the weight");
    return;
  }
  for (int32_t& token : the_.scene.tokens.tokens) {
    const auto found = std::ranges::lower_bound(the_.rows, uint64_t(token));
    if (found == the_.rows.end() || *found != uint64_t(token))
      return fail(fmt::format("the weight's row of token {} is missing", token));
    token = int32_t(found - the_.rows.begin());
  }
}

void Reader::read_rope() {
  Fields f = object("rope");
  op::RopeTable& rope = the_.program.rope_tables.emplace_back();
  rope.dimensions = uint32_t(f.integer("dimensions", 2, 1 << 16));
  rope.adjacent = f.flag("adjacent");
  rope.magnitude = f.number("magnitude");
  rope.frequency = table("rope.frequency").data;
  if (rope.dimensions % 2 || rope.frequency.size() != rope.dimensions / 2)
    return fail("there is not one frequency per pair");
  for (const double frequency : rope.frequency)
    if (!(std::fabs(frequency) * the_.scene.tokens.positions.back() <= most_angle))
      return fail("an angle is beyond 2^24");
}

void Reader::read_growth() {
  Fields f = object("growth");
  op::PositionGrowth growth;
  growth.slope = f.number("slope");
  growth.every = uint32_t(f.integer("every", 1, UINT32_MAX));
  growth.offset = uint32_t(f.integer("offset", 0, UINT32_MAX));
  the_.program.rope_tables = {op::make_growth(growth)};
}

void Reader::read_attention() {
  Fields f = object("attention");
  const uint32_t heads = uint32_t(f.integer("heads", 0, 1 << 12));
  the_.program.caches = {{uint32_t(f.integer("kv_heads", 1, 1 << 12)),
                          uint32_t(f.integer("key_dim", 1, 1 << 16)),
                          uint32_t(f.integer("value_dim", 1, 1 << 16))}};
  const float scale = float(f.number("scale"));
  auto* attend = operation_.as<op::Attend>();
  if (!attend) return;
  *attend = {.heads = heads, .scale = scale};
  if (f.has("window")) attend->window = uint32_t(f.integer("window", 1, UINT32_MAX));
  if (f.has("chunked")) attend->chunked = f.flag("chunked");
  if (f.has("soft_cap")) attend->soft_cap = float(f.number("soft_cap"));
  if (f.has("alibi")) attend->alibi = float(f.number("alibi"));
  if (!(attend->soft_cap >= 0) || !(attend->alibi >= 0 && attend->alibi <= most_alibi))
    fail("its soft cap or its ALiBi is below 0, or too large");
}

void Reader::read_cache() {
  const Table keys = table("cache.keys"), values = table("cache.values");
  const op::CacheShape& a = the_.program.caches[0];
  const uint64_t count = uint64_t(the_.scene.tokens.positions.back()) + 1;
  if (keys.rows != count || values.rows != count ||
      keys.width != uint64_t(a.kv_heads) * a.key_dim ||
      values.width != uint64_t(a.kv_heads) * a.value_dim)
    return fail("the cache has not the keys and values of every position up to the last token's");
  for (uint64_t p = 0; p < count; ++p)
    the_.scene.caches[0].store(uint32_t(p), keys.row(p), values.row(p));
}

void Reader::read_results() {
  const Table& output = the_.scene.output;
  the_.expected = table("expected");
  the_.allowed = table("allowed");
  for (const Table* one : {&the_.expected, &the_.allowed})
    if (one->rows != output.rows || one->width != output.width)
      fail("expected and allowed do not have the output's shape");
}

std::string Reader::read() {
  if (text("format") != format)
    return fmt::format(
        "this is not a case file: its metadata does not say format {}; 'assay diff TRACE --case "
        "FILE'"
        " writes one of the first wrong operation",
        format);
  the_.program.layers = 1;
  the_.scene.caches.resize(1);
  for (void (Reader::*part)() :
       {&Reader::read_step, &Reader::read_operation, &Reader::read_contract, &Reader::read_inputs,
        &Reader::read_weight, &Reader::read_results}) {
    (this->*part)();
    if (!problem_.empty()) return problem_;
  }
  if (operation_.is<op::Rope>()) read_rope();
  if (operation_.is<op::PositionScale>()) read_growth();
  if (op::row_of(operation_).cache) read_attention();
  if (operation_.is<op::Attend>() && problem_.empty()) read_cache();
  if (!problem_.empty()) return problem_;
  if (operation_.is<op::KvStore>() &&
      the_.scene.output.width != the_.scene.inputs[0].width + the_.scene.inputs[1].width)
    return "the output is not the keys and the values";
  try {
    the_.program.append(operation_);
  } catch (const std::logic_error&) {
    return "the shapes do not fit the operation";
  }
  return "";
}

}  // namespace

Result<Case> open_case(const std::string& path) {
  auto bytes = read_file(path, "case");
  if (!bytes) return bytes.error();
  return parse_case(std::move(*bytes), path);
}

Result<Case> parse_case(std::vector<uint8_t> bytes, const std::string& path) {
  const auto file = trace::parse_safetensors(bytes, path);
  if (!file) return file.error();
  Case the;
  if (const std::string problem = Reader(*file, the).read(); !problem.empty())
    return Error{fmt::format("{}: {}", path, problem)};
  return the;
}

}  // namespace assay::cases
