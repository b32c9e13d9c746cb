#include "cases/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "op/kinds.h"
#include "quant/formats.h"

namespace assay::cases {

using judge::Seen;
using judge::Table;

namespace {

/// Devices keep f16 or f32.
bool keeps_halves(const Case& the) {
  return the.scene.arithmetic.kv == judge::Coding{.type = judge::NumberType::f16};
}

/// The case's operation as a program that an executor runs: every input comes from an F32 table of
/// its own, of which token t takes row t.
class OneOperation {
 public:
  explicit OneOperation(const Case& the) : case_(the), whole_(the.operation()) {
    program_.layers = 1;
    program_.rope_tables = the.program.rope_tables;
    program_.caches = the.program.caches;
    if (whole_.is<op::Attend>()) {
      earlier_ = the.scene.tokens.positions[0];
      const uint32_t keys = embed("keys", cached(the.scene.caches[0].keys));
      const uint32_t values = embed("values", cached(the.scene.caches[0].values));
      program_.append({.name = "kv", .of = op::KvStore{}, .inputs = {keys, values}, .layer = 0});
    }
    op::Operation operation = whole_;
    for (size_t i = 0; i < whole_.inputs.size(); ++i)
      operation.inputs[i] = embed(fmt::format("input.{}", i), shifted(the.scene.inputs[i]));
    if (whole_.weight != op::none)
      operation.weight = program_.add_weight(the.program.weights[whole_.weight]);
    if (whole_.bias != op::none)
      operation.bias = program_.add_weight(the.program.weights[whole_.bias]);
    operation.output = op::none;
    at_ = program_.operations.size();
    program_.append(operation);
    if (whole_.is<op::KvStore>()) {  // a program ends in an output
      const uint32_t keys = operation.inputs[0];
      program_.append({.name = "end", .of = op::Add{}, .inputs = {keys, keys}, .layer = 0});
    }
    program_.vocabulary = rows_;
    program_.assign_buffers();
  }

  op::ExecutorOptions options() const {
    op::ExecutorOptions options;
    options.context = uint32_t(earlier_ + tokens());
    options.batch = uint32_t(std::max(earlier_, tokens()));
    options.cache = keeps_halves(case_) ? op::CacheType::f16 : op::CacheType::f32;
    options.contract = case_.scene.contract == "f32" ? op::Contract::f32 : op::Contract::assay1;
    return options;
  }
  const op::Program& program() const { return program_; }

  Table run(op::Executor& executor) const {
    if (earlier_ > 0) step(executor, 0, earlier_, {});
    Table out(case_.output().rows, case_.output().width);
    step(executor, earlier_, tokens(), [&](const op::Operation& operation, auto values) {
      if (&operation != &program_.operations[at_]) return;
      if (!whole_.is<op::KvStore>())
        return void(std::copy(values.begin(), values.end(), out.data.begin()));
      // All keys, then all values; a row of the case has both.
      const uint64_t width = case_.scene.inputs[0].width;
      for (uint64_t t = 0; t < out.rows; ++t)
        for (uint64_t i = 0; i < out.width; ++i)
          out.row(t)[i] =
              double(values[i < width ? t * width + i
                                      : out.rows * width + t * (out.width - width) + (i - width)]);
    });
    return out;
  }

 private:
  uint64_t tokens() const { return case_.tokens.size(); }

  /// Positions count from 0 where the cache is filled first, or nothing depends on them.
  void step(op::Executor& executor, uint64_t first, uint64_t count, const op::Sink& sink) const {
    const auto* table = whole_.as<op::Embed>();
    const bool of_position = table && table->of_position, of_token = table && !of_position;
    const bool by_position = whole_.is<op::Rope>() || whole_.is<op::PositionScale>() || of_position;
    std::vector<int32_t> ids;
    std::vector<uint32_t> positions, sequences(count, 0), selected;
    for (uint64_t t = 0; t < count; ++t) {
      ids.push_back(of_token ? case_.scene.tokens.tokens[t] : int32_t(first + t));
      positions.push_back(by_position ? case_.scene.tokens.positions[t] : uint32_t(first + t));
      selected.push_back(uint32_t(t));
    }
    if (whole_.is<op::SelectRows>()) selected = case_.scene.tokens.selected;
    executor.run({ids, positions, sequences, selected}, sink);
  }

  uint32_t embed(const std::string& name, const Table& rows) {
    auto bytes = std::make_shared<std::vector<uint8_t>>(4 * rows.data.size());
    for (size_t i = 0; i < rows.data.size(); ++i) {
      const float value = float(rows.data[i]);
      std::memcpy(bytes->data() + 4 * i, &value, 4);
    }
    bytes_.push_back(bytes);
    rows_ = std::max(rows_, uint32_t(rows.rows));
    const uint32_t weight =
        program_.add_weight({"table of " + name, quant::F32::id, rows.rows, rows.width, *bytes});
    return program_.append({.name = name, .of = op::Embed{}, .weight = weight});
  }

  /// Below as many rows of zeros as the cache has earlier positions.
  Table shifted(const Table& input) const {
    Table out(earlier_ + input.rows, input.width);
    std::ranges::copy(input.data, out.row(earlier_).begin());
    return out;
  }

  static Table cached(const std::vector<std::vector<double>>& rows) {
    Table out(rows.size(), rows[0].size());
    for (size_t i = 0; i < rows.size(); ++i) std::ranges::copy(rows[i], out.row(i).begin());
    return out;
  }

  const Case& case_;
  const op::Operation& whole_;
  op::Program program_;
  size_t at_ = 0;
  uint64_t earlier_ = 0;  // positions that the cache holds before the step
  uint32_t rows_ = 0;
  std::vector<std::shared_ptr<std::vector<uint8_t>>> bytes_;
};

/// The case as a device that keeps our contract should compute it.
diff::Scene scene_of_device(const Case& the, const std::string& contract) {
  diff::Scene scene = the.scene;
  scene.contract = contract;
  scene.arithmetic = {};
  scene.coding = {};
  if (op::multiplies(the.operation()))
    scene.coding = judge::codings(contract, the.program.weights[the.operation().weight].type)[0];
  if (!keeps_halves(the))
    scene.arithmetic.kv = {};
  else
    for (auto* rows : {&scene.caches[0].keys, &scene.caches[0].values})
      for (auto& row : *rows)
        for (double& x : row) x = judge::round_to_f16(x);
  return scene;
}

bool same(double a, double b) {
  return a == b || std::fabs(a - b) <= 1e-6 * std::min(std::fabs(a), std::fabs(b));
}

std::string error_of(const Seen& seen) {
  return fmt::format("{:.3g} u (limit {:.3g} u)", seen.max_u, seen.limit_u);
}

std::string sentence_of(const Case& the, const Replayed& r) {
  const std::string stored =
      r.stored.failures == 0
          ? fmt::format("{}'s output passes here: {}", the.engine, error_of(r.stored))
          : fmt::format("{}'s output fails {}: token {} channel {}, {}", the.engine,
                        r.as_recorded ? "again" : "elsewhere or by another amount than recorded",
                        r.stored.token, the.whole_row(r.stored.row), error_of(r.stored));
  return fmt::format("{} {}: {} ({}): {} at most, {} of {} elements outside; {}",
                     r.device.failures == 0 ? "PASS" : "FAIL", the.operation().name, r.name,
                     r.contract, error_of(r.device), r.device.failures, r.device.elements, stored);
}

}  // namespace

Result<Replayed> replay(const Case& the, const MakeExecutor& make) {
  Replayed out;
  out.stored = judge::compare(the.output(), diff::expect(the.program, the.scene));
  out.as_recorded = out.stored.token == the.seen.token &&
                    the.whole_row(out.stored.row) == the.seen.row &&
                    same(out.stored.max_u, the.seen.max_u);
  const OneOperation one(the);
  const op::ExecutorOptions options = one.options();
  auto executor = make(one.program(), options);
  if (!executor) return executor.error();
  const Table got = one.run(**executor);
  const std::string contract = options.contract == op::Contract::f32 ? "f32" : "assay/1";
  out.device = judge::compare(got, diff::expect(the.program, scene_of_device(the, contract)));
  out.name = (*executor)->device();
  out.isa = (*executor)->isa();
  out.contract = (*executor)->contract();
  out.sentence = sentence_of(the, out);
  return out;
}

std::string to_json(const Case& the, const Replayed& r) {
  using Json = nlohmann::ordered_json;
  const auto seen = [&](const Seen& s) {
    return Json{{"token", s.token},
                {"row", the.whole_row(s.row)},
                {"error_u", json_number(s.max_u)},
                {"limit_u", json_number(s.limit_u)},
                {"failures", s.failures},
                {"of", s.elements}};
  };
  Json stored = seen(r.stored), device = seen(r.device);
  stored["fails"] = r.stored.failures > 0;
  stored["as_recorded"] = r.as_recorded;
  device["name"] = r.name;
  device["isa"] = r.isa;
  device["contract"] = r.contract;
  device["passes"] = r.device.failures == 0;
  const Json json = {{"schema", "assay.replay/1"},
                     {"sentence", r.sentence},
                     {"case",
                      {{"operation", the.operation().name},
                       {"kind", op::name_of(the.operation())},
                       {"engine", the.engine},
                       {"contract", the.scene.contract},
                       {"step", the.scene.step},
                       {"tokens", the.tokens.size()}}},
                     {"stored", stored},
                     {"device", device}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace assay::cases
