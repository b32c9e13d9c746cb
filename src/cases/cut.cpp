#include <algorithm>
#include <cmath>
#include <set>

#include "cases/case_file.h"
#include "diff/experts.h"
#include "judge/formulas.h"

namespace assay::cases {

using judge::Table;

namespace {

/// The columns with the worst failures, `most` at most, and their neighbours.
std::vector<uint64_t> columns_to_keep(const Table& output, const judge::Judged& judged,
                                      uint64_t most) {
  std::vector<std::pair<double, uint64_t>> failing;  // worst first
  for (uint64_t column = 0; column < output.width; ++column) {
    judge::Seen all;
    for (uint64_t t = 0; t < output.rows; ++t)
      all.add(judge::compare_element(output, judged, t, column));
    if (all.failures) failing.emplace_back(-judge::badness(all.max_u, all.limit_u), column);
  }
  std::ranges::sort(failing);
  failing.resize(std::min<size_t>(failing.size(), most));
  std::set<uint64_t> kept;
  for (const auto& [worst, column] : failing)
    for (uint64_t c = column == 0 ? 0 : column - 1; c <= column + 1; ++c)
      if (c < output.width) kept.insert(c);
  return {kept.begin(), kept.end()};
}

/// A weight of its own bytes: those rows of `whole`.
op::Weight cut_rows(const op::Weight& whole, const std::vector<uint64_t>& rows, Case& the) {
  auto bytes = std::make_shared<std::vector<uint8_t>>();
  for (const uint64_t row : rows)
    bytes->insert(bytes->end(), whole.row(row).begin(), whole.row(row).end());
  the.bytes.push_back(bytes);
  return {whole.name, whole.type, rows.size(), whole.columns, *bytes};
}

std::vector<uint64_t> all_rows(const op::Weight& weight) {
  std::vector<uint64_t> rows(weight.rows);
  for (uint64_t i = 0; i < rows.size(); ++i) rows[i] = i;
  return rows;
}

Table keep_columns(const Table& table, const std::vector<uint64_t>& columns) {
  Table out(table.rows, columns.size());
  for (uint64_t t = 0; t < table.rows; ++t)
    for (size_t i = 0; i < columns.size(); ++i) out.row(t)[i] = table.row(t)[columns[i]];
  return out;
}

/// What is kept of a product.
struct Kept {
  std::vector<uint64_t> columns;  ///< of the output
  std::vector<uint64_t> experts;  ///< of experts' matrices
  std::vector<uint64_t> rows;     ///< of the weight, or of each expert's
};

/// The bias' elements of what is kept: a product's, else all.
op::Weight cut_bias(const op::Weight& whole, const op::Operation& operation, const Kept& kept,
                    Case& the) {
  if (!op::multiplies(operation)) return cut_rows(whole, all_rows(whole), the);
  const std::vector<uint64_t> experts =
      kept.experts.empty() ? std::vector<uint64_t>{0} : kept.experts;
  auto bytes = std::make_shared<std::vector<uint8_t>>();
  for (const uint64_t expert : experts)
    for (const uint64_t row : kept.rows) {
      const auto element = whole.row(expert).subspan(4 * row, 4);
      bytes->insert(bytes->end(), element.begin(), element.end());
    }
  the.bytes.push_back(bytes);
  return {whole.name, whole.type, experts.size(), kept.rows.size(), *bytes};
}

/// Ids as indices into the distinct ones, which become `rows`.
template <class Id>
void index_ids(std::vector<Id>& ids, Case& the) {
  std::set<uint64_t> distinct;
  for (const Id id : ids) distinct.insert(uint64_t(id));
  the.rows.assign(distinct.begin(), distinct.end());
  for (Id& id : ids) id = Id(std::ranges::lower_bound(the.rows, uint64_t(id)) - the.rows.begin());
}

/// Of experts' outputs the columns are rows of each slot's expert.
Kept keep_experts(const op::MatmulExperts& experts, const std::vector<uint64_t>& failing,
                  Case& the) {
  diff::ChosenExperts chosen = diff::chosen_experts(the.scene.inputs[1], experts.experts);
  std::set<uint64_t> rows;
  for (const uint64_t column : failing) rows.insert(column % the.expert_rows);
  Kept kept{{}, std::move(chosen.experts), {rows.begin(), rows.end()}};
  the.rows = diff::rows_of_experts(kept.experts, the.expert_rows, kept.rows);
  the.scene.inputs[1] = std::move(chosen.routing);
  for (uint64_t slot = 0; slot < the.scene.inputs[1].width / 2; ++slot)
    for (const uint64_t row : kept.rows) kept.columns.push_back(slot * the.expert_rows + row);
  return kept;
}

/// Of what follows select_rows only the selected tokens count.
void keep_selected(trace::TraceStep& step) {
  trace::TraceStep kept;
  for (size_t i = 0; i < step.selected.size(); ++i) {
    kept.tokens.push_back(step.tokens[step.selected[i]]);
    kept.positions.push_back(step.positions[step.selected[i]]);
    kept.selected.push_back(uint32_t(i));
  }
  step = kept;
}

/// The operation alone in a program; its weights' rows as `the.rows` and `kept` say.
void build_program(const op::Program& whole, const op::Operation& operation, const Kept& kept,
                   Case& the) {
  op::Program& program = the.program;
  op::Operation alone = operation;
  program.layers = 1;
  alone.of = program.adopt(whole, operation.of);
  if (auto* experts = alone.as<op::MatmulExperts>())
    experts->experts = uint32_t(kept.experts.size());
  alone.inputs.clear();
  for (size_t i = 0; i < operation.inputs.size(); ++i)
    alone.inputs.push_back(
        program.add_value("input." + std::to_string(i), uint32_t(the.scene.inputs[i].width)));
  if (operation.output != op::none)
    alone.output = program.add_value(operation.name, uint32_t(the.scene.output.width));
  if (operation.weight != op::none) {
    const op::Weight& weight = whole.weights[operation.weight];
    the.whole_rows = weight.rows;
    alone.weight =
        program.add_weight(cut_rows(weight, the.rows.empty() ? all_rows(weight) : the.rows, the));
    program.vocabulary = uint32_t(program.weights[alone.weight].rows);
  }
  if (operation.bias != op::none)
    alone.bias = program.add_weight(cut_bias(whole.weights[operation.bias], operation, kept, the));
  alone.layer = 0;
  program.append(alone);
}

}  // namespace

uint64_t Case::whole_row(uint64_t column) const {
  if (rows.empty() || !op::multiplies(operation())) return column;
  const auto* experts = operation().as<op::MatmulExperts>();
  if (!experts) return rows[column];
  const uint64_t kept = rows.size() / experts->experts;  // of each expert
  return column / kept * expert_rows + rows[column % kept] % expert_rows;
}

Case cut_case(const op::Program& program, const diff::Scene& scene, const std::string& engine,
              uint64_t most_rows) {
  const op::Operation& operation = program.operations[scene.operation];
  const judge::Judged whole = diff::expect(program, scene);
  Case the;
  the.engine = engine;
  the.layer = operation.layer;
  the.seen = judge::compare(scene.output, whole);
  the.scene = scene;
  the.scene.operation = 0;
  the.scene.caches.clear();
  the.scene.caches.resize(1);
  if (const auto* attend = operation.as<op::Attend>())
    the.scene.caches[0] = scene.caches[attend->cache];
  const bool of_selected =
      !operation.inputs.empty() && program.values[operation.inputs[0]].selected;
  if (of_selected) keep_selected(the.scene.tokens);
  the.tokens = the.scene.tokens.tokens;
  Kept kept;
  if (op::multiplies(operation)) {
    kept.columns = columns_to_keep(scene.output, whole, most_rows);
    if (const auto* experts = operation.as<op::MatmulExperts>()) {
      the.expert_rows = program.weights[operation.weight].rows / experts->experts;
      kept = keep_experts(*experts, kept.columns, the);
    } else {
      the.rows = kept.rows = kept.columns;
    }
    the.scene.output = keep_columns(scene.output, kept.columns);
  }
  if (const auto* embed = operation.as<op::Embed>(); embed && embed->of_position)
    index_ids(the.scene.tokens.positions, the);
  else if (embed)
    index_ids(the.scene.tokens.tokens, the);
  build_program(program, operation, kept, the);
  const judge::Judged judged = diff::expect(the.program, the.scene);
  the.expected = judged.want;
  the.allowed = Table(judged.want.rows, judged.want.width);
  for (uint64_t t = 0; t < judged.want.rows; ++t)
    for (uint64_t i = 0; i < judged.want.width; ++i)
      the.allowed.row(t)[i] = judged.limit_at(t, i) * judge::unit * judged.scale.row(t)[i] +
                              judged.slack_at(t, i) +
                              (judged.limit_at(t, i) > 0 ? judge::absolute_floor : 0.0);
  return the;
}

}  // namespace assay::cases
