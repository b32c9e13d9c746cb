#include "check/kit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "check/alone.h"
#include "check/question.h"
#include "diff/experts.h"
#include "judge/formulas.h"
#include "op/kinds.h"
#include "op/rope.h"
#include "quant/formats.h"

namespace assay::check {

using trace::NpyType;
using Json = nlohmann::ordered_json;

namespace {

/// The values that attention finds in its cache: what the kv_store of that cache reads.
std::vector<uint32_t> cached_values(const op::Program& program, const op::Operation& attention) {
  for (const op::Operation& operation : program.operations)
    if (const auto* store = operation.as<op::KvStore>();
        store && store->cache == attention.as<op::Attend>()->cache)
      return operation.inputs;
  return {};
}

std::vector<uint32_t> values_read(const op::Program& program, const op::Operation& operation) {
  std::vector<uint32_t> out = operation.inputs;
  if (operation.is<op::Attend>())
    for (const uint32_t value : cached_values(program, operation)) out.push_back(value);
  return out;
}

/// How many rows of the weight a case takes.
uint64_t rows_taken(const op::Program& program, const op::Operation& operation, uint64_t rows,
                    uint64_t tokens) {
  const op::Weight& weight = program.weights[operation.weight];
  if (const auto* p = operation.as<op::MatmulExperts>()) {
    const uint64_t used = program.values[operation.inputs[1]].width / 2;
    return std::min<uint64_t>(p->experts, tokens * used) * std::min(weight.rows / p->experts, rows);
  }
  if (operation.is<op::Embed>()) return std::min(weight.rows, tokens);
  return operation.is<op::Matmul>() ? std::min(weight.rows, rows) : weight.rows;
}

/// Of one case, in bytes.
uint64_t size_of(const op::Program& program, const op::Operation& operation, uint64_t rows,
                 uint64_t tokens) {
  uint64_t bytes = 0, outputs = program.values[operation.output].width;
  for (const uint32_t value : values_read(program, operation))
    bytes += tokens * program.values[value].width * sizeof(float);
  if (operation.weight != op::none) {
    const op::Weight& weight = program.weights[operation.weight];
    const uint64_t taken = rows_taken(program, operation, rows, tokens);
    bytes += taken * (weight.columns * sizeof(float) + weight.row_bytes());
    if (op::multiplies(operation)) outputs = std::min(outputs, taken);
  }
  const bool two = op::multiplies(operation) || operation.is<op::Attend>();
  return bytes + tokens * outputs * 2 * sizeof(float) * (two ? 2 : 1);
}

/// Writes a case's files and counts them.
class Folder {
 public:
  explicit Folder(std::string path) : path_(std::move(path)) {}
  KitWritten written;
  Status status = ok();  ///< the first error

  void put(const std::string& name, NpyType type, const std::vector<uint64_t>& shape,
           std::span<const uint8_t> bytes) {
    if (!status) return;
    status = trace::write_npy((std::filesystem::path(path_) / name).string(), type, shape, bytes);
    ++written.files;
    written.bytes += bytes.size();
  }
  template <class T>
  void put(const std::string& name, NpyType type, const std::vector<uint64_t>& shape,
           const std::vector<T>& values) {
    put(name, type, shape,
        {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(T)});
  }
  Json put_table(const std::string& name, const Table& table) {
    const std::vector<float> values(table.data.begin(), table.data.end());
    put(name, NpyType::f4, {table.rows, table.width}, values);
    return {{"file", name}, {"shape", {table.rows, table.width}}};
  }

 private:
  std::string path_;
};

/// What a case takes of the weight, and the inputs that then belong to it.
struct Gathered {
  Taken taken;
  std::vector<int32_t> indices;  ///< embed: of each token, its row of the weight
  Table routing;                 ///< matmul_experts: ids are places among the experts taken
};

/// Each row of an embedding once.
Gathered gather_rows(const op::Program& program, const op::Operation& operation,
                     const trace::TraceStep& step) {
  Gathered out;
  std::vector<uint64_t> ids;
  for (size_t t = 0; t < step.tokens.size(); ++t) {
    const bool of_position = operation.as<op::Embed>()->of_position;
    const uint64_t id = of_position ? step.positions[t] : uint64_t(step.tokens[t]);
    auto at = std::ranges::find(ids, id);
    if (at == ids.end()) at = ids.insert(at, id);
    out.indices.push_back(int32_t(at - ids.begin()));
  }
  out.taken = table_rows(program, operation, std::move(ids));
  return out;
}

Gathered gather(const op::Program& program, const op::Operation& operation, const KitRun& run,
                uint64_t rows) {
  if (operation.is<op::Embed>()) return gather_rows(program, operation, run.step);
  Gathered out;
  if (const auto* p = operation.as<op::MatmulExperts>()) {
    auto chosen = diff::chosen_experts(run.values.at(operation.inputs[1]), p->experts);
    out.routing = std::move(chosen.routing);
    out.taken = experts_rows(program, operation, std::move(chosen.experts), rows);
    return out;
  }
  out.taken = first_rows(program, operation, rows);
  return out;
}

Json put_weight(Folder& folder, const op::Operation& operation, const op::Weight& whole,
                const Taken& taken) {
  const op::Weight& weight = taken.weight;
  std::vector<float> values(weight.rows * weight.columns);
  quant::decode_row(weight.type, weight.data, values);
  folder.put("weight.npy", NpyType::f4, {weight.rows, weight.columns}, values);
  Json json = {{"tensor", weight.name},
               {"type", quant::info(weight.type).name},
               {"file", "weight.npy"},
               {"shape", {weight.rows, weight.columns}}};
  if (weight.type != quant::F32::id) {
    folder.put("weight_raw.npy", NpyType::u1, {weight.rows, weight.row_bytes()}, weight.data);
    json["raw"] = "weight_raw.npy";
  }
  if (taken.ids.empty())
    json["rows"] = {0, weight.rows};
  else if (operation.is<op::Embed>())
    json["rows_taken"] = taken.ids;
  else
    json["experts_taken"] = taken.ids;
  json["of"] = whole.rows;
  return json;
}

Json put_inputs(Folder& folder, const Question& question, const op::Operation& operation,
                const Gathered& gathered) {
  if (operation.is<op::Embed>()) {
    folder.put("input0.npy", NpyType::i4, {gathered.indices.size()}, gathered.indices);
    return {
        {{"file", "input0.npy"}, {"shape", {gathered.indices.size()}}, {"what", "row of weight"}}};
  }
  const auto what = op::row_of(operation).reads;
  std::vector<const Table*> tables;
  for (const Table& table : question.inputs) tables.push_back(&table);
  if (operation.is<op::Attend>()) tables = {tables[0], &question.keys, &question.values};
  Json list = Json::array();
  for (size_t i = 0; i < tables.size(); ++i) {
    Json one = folder.put_table(fmt::format("input{}.npy", i), *tables[i]);
    one["what"] = what[i];
    list.push_back(std::move(one));
  }
  return list;
}

Json attention_json(const op::AttentionShape& a, const std::vector<uint32_t>& positions) {
  Json json = {{"heads", a.heads},         {"kv_heads", a.kv_heads}, {"key_dim", a.key_dim},
               {"value_dim", a.value_dim}, {"scale", a.scale},       {"causal", true},
               {"positions", positions}};
  if (a.window) json["window"] = a.window;
  if (a.chunked) json["chunked"] = true;
  if (a.soft_cap != 0) json["soft_cap"] = a.soft_cap;
  if (a.alibi == 0) return json;
  std::vector<float> slopes;
  for (uint32_t head = 0; head < a.heads; ++head)
    slopes.push_back(op::alibi_slope(a.alibi, head, a.heads));
  json["slopes"] = slopes;
  return json;
}

Json growth_json(const op::PositionGrowth& growth, const std::vector<uint32_t>& positions) {
  return {{"slope", growth.slope},
          {"every", growth.every},
          {"offset", growth.offset},
          {"positions", positions}};
}

/// `program` has the operation alone, as the case takes it.
Json put_parameters(Folder& folder, const op::Program& program, const op::Operation& operation,
                    const KitRun& run) {
  if (operation.is<op::Attend>())
    return attention_json(program.attention_of(operation), run.step.positions);
  if (const auto* p = operation.as<op::PositionScale>())
    return growth_json(*program.rope_tables[p->table].growth, run.step.positions);
  if (const auto* p = operation.as<op::Rope>()) {
    const op::RopeTable& rope = program.rope_tables[p->table];
    const uint64_t pairs = rope.frequency.size(), tokens = run.step.positions.size();
    std::vector<float> turns(tokens * pairs * 2);
    for (uint64_t t = 0; t < tokens; ++t)
      op::rope_row(rope, run.step.positions[t], std::span(turns).subspan(t * pairs * 2, pairs * 2));
    folder.put("frequency.npy", NpyType::f8, {pairs}, rope.frequency);
    folder.put("cos_sin.npy", NpyType::f4, {tokens, pairs, 2}, turns);
    return {{"heads", p->heads},
            {"head_dim", program.values[operation.output].width / p->heads},
            {"dimensions", rope.dimensions},
            {"pairing", rope.adjacent ? "adjacent" : "half"},
            {"base", run.rope_base > 0 ? Json(run.rope_base) : Json(nullptr)},
            {"magnitude", rope.magnitude},
            {"positions", run.step.positions},
            {"frequency", "frequency.npy"},
            {"cos_sin", "cos_sin.npy"}};
  }
  Json json = Json::object();
  op::each_number(operation.of, [&](const op::Number& is, auto value) { json[is.name] = value; });
  return json;
}

/// |y − expected| that is allowed, rounded up: the judge's limit, and what rounding the expected
/// value to f32 took.
std::vector<float> tolerances(const judge::Judged& judged) {
  const Table& want = judged.want;
  std::vector<float> out;
  for (uint64_t t = 0; t < want.rows; ++t)
    for (uint64_t i = 0; i < want.width; ++i) {
      const double w = want.row(t)[i], limit = judged.limit_at(t, i);
      double allowed = limit * judge::unit * judged.scale.row(t)[i] + judged.slack_at(t, i);
      if (limit > 0) allowed += judge::absolute_floor;
      allowed += std::fabs(double(float(w)) - w);
      const float nearest = float(allowed);
      out.push_back(double(nearest) < allowed ? std::nextafter(nearest, INFINITY) : nearest);
    }
  return out;
}

Json put_expected(Folder& folder, const std::string& contract, const judge::Judged& judged) {
  const std::string suffix = contract == "assay/1" ? "assay1" : contract;
  const std::string file = fmt::format("expected.{}.npy", suffix);
  const std::string limits = fmt::format("tolerance.{}.npy", suffix);
  Json json = {{"contract", contract}};
  json.update(folder.put_table(file, judged.want));
  folder.put(limits, NpyType::f4, {judged.want.rows, judged.want.width}, tolerances(judged));
  json["tolerance"] = limits;
  json["limit_u"] = *std::ranges::max_element(judged.limit.data);
  return json;
}

/// What a run gave, as a question about the operation alone.
Question question_of(const op::Program& program, size_t index, const op::Program& alone,
                     const KitRun& run, const Gathered& gathered) {
  const op::Operation& operation = program.operations[index];
  Question question;
  question.program = &alone;
  question.step = run.step;
  if (const auto* embed = operation.as<op::Embed>(); embed && embed->of_position)
    question.step.positions.assign(gathered.indices.begin(), gathered.indices.end());
  else if (embed)
    question.step.tokens = gathered.indices;
  for (const uint32_t value : operation.inputs) question.inputs.push_back(run.values.at(value));
  if (operation.is<op::MatmulExperts>()) question.inputs[1] = gathered.routing;
  if (operation.is<op::Attend>()) {
    const auto cached = cached_values(program, operation);
    question.keys = run.values.at(cached[0]);
    question.values = run.values.at(cached[1]);
  }
  return question;
}

}  // namespace

KitPlan plan_kit(const op::Program& program, const KitOptions& options, uint64_t tokens) {
  KitPlan plan;
  std::set<uint32_t> values;
  for (size_t i = 0; i < program.operations.size(); ++i) {
    const op::Operation& operation = program.operations[i];
    const bool in_layers =
        operation.layer == op::none ||
        std::ranges::find(options.layers, operation.layer) != options.layers.end();
    if (op::row_of(operation).moves || !in_layers) continue;
    plan.operations.push_back(i);
    plan.bytes += size_of(program, operation, options.rows, tokens);
    for (const uint32_t value : values_read(program, operation)) values.insert(value);
  }
  plan.values.assign(values.begin(), values.end());
  return plan;
}

Result<KitWritten> write_case(const op::Program& program, size_t index, const KitRun& run,
                              const KitOptions& options, const std::string& folder_path) {
  const op::Operation& operation = program.operations[index];
  const auto path = std::filesystem::path(folder_path) / operation.name;
  std::error_code failed;
  std::filesystem::create_directories(path, failed);
  if (failed) return Error{fmt::format("cannot make '{}': {}", path.string(), failed.message())};
  Folder folder(path.string());
  const Gathered gathered = gather(program, operation, run, options.rows);
  const op::Program alone = cut_out(program, index, gathered.taken);
  const Question question = question_of(program, index, alone, run, gathered);
  Json json = {{"name", operation.name}, {"kind", op::name_of(operation)}};
  json["inputs"] = put_inputs(folder, question, operation, gathered);
  if (operation.weight != op::none)
    json["weight"] =
        put_weight(folder, operation, program.weights[operation.weight], gathered.taken);
  if (const op::Weight* bias = alone.bias_of(alone.operations[0])) {
    std::vector<uint64_t> shape = {bias->columns};
    if (bias->rows > 1) shape.insert(shape.begin(), bias->rows);
    folder.put("bias.npy", NpyType::f4, shape, bias->data);
    json["bias"] = "bias.npy";
  }
  json["parameters"] = put_parameters(folder, alone, alone.operations[0], run);
  const judge::Judged plain = expected(question, "f32"), coded = expected(question, "assay/1");
  json["expected"] = {put_expected(folder, "f32", plain)};
  if (coded.want.data != plain.want.data)
    json["expected"].push_back(put_expected(folder, "assay/1", coded));
  if (!folder.status) return folder.status.error();
  folder.written.json = json.dump();
  return folder.written;
}

}  // namespace assay::check
