#include "verify/case.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/mix64.h"
#include "op/kinds.h"
#include "op/paging.h"
#include "quant/formats.h"

namespace assay::verify {

namespace {

/// The table of pages in order with each group's pages in the places of others: in the order of a
/// Fisher-Yates shuffle.
std::vector<uint32_t> mixed_pages(const Case& one) {
  const op::ExecutorOptions options = options_for(one);
  const std::vector<uint32_t>& windows = one.program->windows;
  std::vector<uint32_t> table = op::pages_in_order(options, windows);
  const uint32_t stride = op::pages_for(options.context);
  for (size_t group = 0; group < windows.size(); ++group) {
    std::vector<uint32_t> pages(op::pages_of(options, windows[group]));
    std::iota(pages.begin(), pages.end(), 0u);
    uint64_t state = pages.size();
    for (size_t left = pages.size(); left > 1; --left)
      std::swap(pages[left - 1], pages[splitmix64(state) % left]);
    for (size_t i = 0; i < table.size(); ++i)
      if (i / stride % windows.size() == group) table[i] = pages[table[i]];
  }
  return table;
}

}  // namespace

std::vector<Step> steps_of(const Case& one, const Schedule& schedule) {
  std::vector<Step> steps;
  const std::vector<uint32_t> pages =
      schedule.mixed_pages ? mixed_pages(one) : std::vector<uint32_t>();
  uint32_t at = 0;
  for (const uint32_t piece : schedule.pieces) {
    Step step;
    for (uint32_t copy = 0; copy < schedule.copies; ++copy)
      for (uint32_t i = at; i < at + piece; ++i) {
        if (!one.some_rows || i % 3 != 1) step.selected.push_back(uint32_t(step.tokens.size()));
        step.tokens.push_back(one.tokens[i]);
        step.positions.push_back(one.first_position + i);
        step.sequences.push_back(copy);
      }
    at += piece;
    step.pages = pages;
    step.stride = op::pages_for(options_for(one).context);
    step.groups = uint32_t(one.program->windows.size());
    steps.push_back(std::move(step));
  }
  return steps;
}

std::string name_of(const Schedule& schedule) {
  std::string text;
  for (size_t i = 0; i < schedule.pieces.size();) {
    size_t end = i;
    while (end < schedule.pieces.size() && schedule.pieces[end] == schedule.pieces[i]) ++end;
    text += fmt::format("{}{}{}", text.empty() ? "" : "+",
                        end - i > 1 ? fmt::format("{} x ", end - i) : "", schedule.pieces[i]);
    i = end;
  }
  if (schedule.copies > 1) text = fmt::format("{} sequences of {}", schedule.copies, text);
  return schedule.mixed_pages ? text + " in mixed pages" : text;
}

std::string_view format_of(const op::Program& program, const op::Operation& operation) {
  if (operation.weight != op::none) return quant::info(program.weights[operation.weight].type).name;
  return op::row_of(operation).cache ? "f16" : "f32";
}

std::string shape_of(const op::Program& program, const op::Operation& operation) {
  const std::string bias = operation.bias == op::none ? "" : " + bias";
  const auto matrix = [&] {
    const op::Weight& weight = program.weights[operation.weight];
    return fmt::format("{} x {}{}", weight.rows, weight.columns, bias);
  };
  const auto heads = [&] {
    const op::AttentionShape a = program.attention_of(operation);
    std::string text = fmt::format("{} heads on {}, keys {}, values {}", a.heads, a.kv_heads,
                                   a.key_dim, a.value_dim);
    if (a.window) text += fmt::format(", {} of {}", a.chunked ? "chunks" : "a window", a.window);
    if (a.soft_cap != 0) text += fmt::format(", a soft cap of {}", a.soft_cap);
    if (a.alibi != 0) text += ", ALiBi";
    return operation.weight == op::none ? text : text + ", sinks";
  };
  return op::visit(
      operation,  //
      [&](const op::Embed&) { return matrix(); }, [&](const op::Matmul&) { return matrix(); },
      [&](const op::Rope& p) {
        const op::RopeTable& table = program.rope_tables[p.table];
        return fmt::format("{} heads of {}, {} lanes turn {}", p.heads,
                           program.values[operation.output].width / p.heads, table.dimensions,
                           table.adjacent ? "adjacent" : "in halves");
      },
      [&](const op::KvStore&) { return heads(); }, [&](const op::Attend&) { return heads(); },
      [&](const op::Route& p) {
        return fmt::format("{} of {} experts{}", p.used, program.values[operation.inputs[0]].width,
                           bias);
      },
      [&](const op::MatmulExperts& p) {
        return fmt::format("{} of {} experts, {}", program.values[operation.inputs[1]].width / 2,
                           p.experts, matrix());
      },
      [&](const auto&) {
        return fmt::format("width {}{}", program.values[operation.output].width, bias);
      });
}

op::ExecutorOptions options_for(const Case& one) {
  op::ExecutorOptions options;
  options.context = one.first_position + uint32_t(one.tokens.size());
  for (const Schedule& schedule : one.schedules)
    options.sequences = std::max(options.sequences, schedule.copies);
  options.batch = options.sequences * uint32_t(one.tokens.size());
  return options;
}

void run(op::Executor& executor, const Case& one, const Schedule& schedule, const Each& each) {
  for (uint32_t sequence = 0; sequence < schedule.copies; ++sequence)
    executor.truncate(sequence, 0);
  const std::vector<Step> steps = steps_of(one, schedule);
  for (size_t i = 0; i < steps.size(); ++i) {
    StepOutputs outputs;
    executor.run(steps[i].view(), [&](const op::Operation&, std::span<const float> output) {
      outputs.emplace_back(output.begin(), output.end());
    });
    each(i, steps[i], outputs);
  }
}

void run_untraced(op::Executor& executor, const Case& one, const Schedule& schedule,
                  const Each& each) {
  for (uint32_t sequence = 0; sequence < schedule.copies; ++sequence)
    executor.truncate(sequence, 0);
  const std::vector<Step> steps = steps_of(one, schedule);
  for (size_t i = 0; i < steps.size(); ++i) {
    StepOutputs outputs(one.program->operations.size());
    const auto last = executor.run(steps[i].view(), {});
    outputs.back().assign(last.begin(), last.end());
    each(i, steps[i], outputs);
  }
}

}  // namespace assay::verify
