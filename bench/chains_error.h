// The error of both chains on a model: its matrices written again as Q4_K by a plain encoder, its
// own activations (captured from the CPU executor), against f64.
//   u    |chain − Σ W·x̂| / (2^-24·|W||x̂|), x̂ the int8 codes times their scale, |W| = |d·sc·code| +
//        |dmin·m|: what the judge of src/trace/bounds.h asks, with its limit
//   rel  |chain − Σ W·x| / RMS of the row of outputs: what int8 and the chain cost together
// Matrices of a width that is no multiple of 256 are cut to their first whole chunks.
#pragma once

#include <fmt/format.h>

#include <cstring>
#include <limits>
#include <map>
#include <numeric>
#include <string>

#include "chains_contract.h"
#include "cpu/executor.h"
#include "model/model.h"
#include "trace/bounds.h"

namespace assay::bench {

/// Max and RMS of a set of errors; a NaN makes the max NaN.
struct Spread {
  double largest = 0, squares = 0;
  uint64_t count = 0, over = 0;
  void add(double error, double limit = std::numeric_limits<double>::infinity()) {
    if (!(error <= largest)) largest = error;
    squares += error * error;
    ++count;
    if (!(error <= limit)) ++over;
  }
  double rms() const { return std::sqrt(squares / double(count)); }
};

struct Errors {
  uint64_t matrices = 0, file_columns = 0, columns = 0;
  std::array<Spread, 2> u;         // A, A2
  std::array<Spread, 3> relative;  // A, A2, and the int8 codes in f64
  Spread file_weights, encoded;    // the file's weights, and what the encoder changed
};

/// rne(value) kept inside 0 … top; 0 where it is NaN.
inline uint32_t code_of(float value, float top) {
  return value > 0 ? uint32_t(std::nearbyint(std::min(value, top))) : 0u;
}

/// One block of 256 weights as Q4_K: each group spans min(0, min w) … max w in 15 steps; steps and
/// minima in 63 parts of the block's largest.
inline void encode_block(const float* w, uint8_t* out) {
  std::array<float, groups> step, depth;
  for (uint32_t g = 0; g < groups; ++g) {
    const auto [low, high] = std::minmax_element(w + 32 * g, w + 32 * (g + 1));
    depth[g] = -std::min(*low, 0.0f);
    step[g] = (std::max(*high, 0.0f) + depth[g]) / 15.0f;
  }
  const uint16_t d = k_f32_to_f16(*std::max_element(step.begin(), step.end()) / 63.0f);
  const uint16_t dmin = k_f32_to_f16(*std::max_element(depth.begin(), depth.end()) / 63.0f);
  std::memset(out, 0, Format::block_bytes);
  std::memcpy(out, &d, 2);
  std::memcpy(out + 2, &dmin, 2);
  for (uint32_t g = 0; g < groups; ++g) {
    const uint32_t sc = code_of(step[g] / k_f16_to_f32(d), 63);
    const uint32_t m = code_of(depth[g] / k_f16_to_f32(dmin), 63);
    if (g < 4) {
      out[4 + g] = uint8_t(out[4 + g] | sc);
      out[8 + g] = uint8_t(out[8 + g] | m);
    } else {
      out[8 + g] = uint8_t((sc & 15) | (m & 15) << 4);
      out[g] = uint8_t(out[g] | (sc >> 4) << 6);
      out[4 + g] = uint8_t(out[4 + g] | (m >> 4) << 6);
    }
    const float scale = k_f16_to_f32(d) * float(sc), minimum = k_f16_to_f32(dmin) * float(m);
    for (uint32_t i = 0; i < 32; ++i) {
      const uint32_t code = code_of((w[32 * g + i] + minimum) / scale, 15);
      uint8_t& byte = out[16 + g / 2 * 32 + i];
      byte = uint8_t(byte | (g % 2 ? code << 4 : code));
    }
  }
}

/// Σ W·x̂ and |W||x̂| in f64, and Σ W·x.
struct Exact {
  double coded = 0, magnitude = 0, plain = 0;
};
inline Exact exact_of(const WeightRow& w, const Row& x, const float* plain) {
  Exact sum;
  for (size_t j = 0; j < w.scale.size(); ++j) {
    const double scale = w.scale[j], minimum = double(w.block_minimum[j / groups]) * w.minimum[j];
    int32_t dot = 0, absolute_dot = 0, codes = 0, absolute_codes = 0;
    double plain_dot = 0, plain_sum = 0;
    for (size_t i = 32 * j; i < 32 * (j + 1); ++i) {
      const int32_t q = w.codes[i], c = x.quantised.codes[i], magnitude = c < 0 ? -c : c;
      dot += q * c;
      absolute_dot += q * magnitude;
      codes += c;
      absolute_codes += magnitude;
      plain_dot += double(q) * plain[i];
      plain_sum += plain[i];
    }
    const double dx = x.quantised.scale[j];
    sum.coded += dx * (scale * dot - minimum * codes);
    sum.magnitude += dx * (std::fabs(scale) * absolute_dot + std::fabs(minimum) * absolute_codes);
    sum.plain += scale * plain_dot - minimum * plain_sum;
  }
  return sum;
}

/// Adds one matrix's errors on `tokens` rows of activations x, (tokens, weight.columns).
inline void add_matrix(const op::Weight& weight, std::span<const float> x, Errors& errors) {
  const uint64_t columns = weight.columns / chunk * chunk, tokens = x.size() / weight.columns;
  std::vector<float> cut, decoded(weight.columns);
  for (uint64_t t = 0; t < tokens; ++t)
    cut.insert(cut.end(), &x[t * weight.columns], &x[t * weight.columns] + columns);
  const Activations activations = quantise(cut, columns);
  const double limit = trace::quantised_matmul_limit(columns);
  std::vector<std::array<double, 4>> outputs(tokens * weight.rows);  // A, A2, coded, plain
  std::vector<uint8_t> blocks(columns / chunk * Format::block_bytes);
  std::vector<int32_t> dot;
  for (uint64_t r = 0; r < weight.rows; ++r) {
    quant::decode_row(weight.type, weight.row(r), decoded);
    for (uint64_t b = 0; b < columns / chunk; ++b)
      encode_block(&decoded[chunk * b], &blocks[Format::block_bytes * b]);
    const WeightRow row = unpack(blocks.data(), columns);
    for (uint64_t i = 0; i < columns; ++i) {
      errors.file_weights.add(std::fabs(decoded[i]));
      errors.encoded.add(std::fabs(
          quant::decode<Format>(&blocks[i / chunk * Format::block_bytes], i % chunk) - decoded[i]));
    }
    for (uint64_t t = 0; t < tokens; ++t) {
      dots(row, activations.rows[t].quantised.codes, dot);
      const std::array<float, 2> y = restate(row, activations.rows[t], dot);
      const Exact exact = exact_of(row, activations.rows[t], &cut[t * columns]);
      for (size_t chain = 0; chain < 2; ++chain)
        errors.u[chain].add(std::fabs(y[chain] - exact.coded) / (trace::unit * exact.magnitude),
                            limit);
      outputs[t * weight.rows + r] = {y[0], y[1], exact.coded, exact.plain};
    }
  }
  for (uint64_t t = 0; t < tokens; ++t) {
    const std::span row = std::span(outputs).subspan(t * weight.rows, weight.rows);
    double squares = 0;
    for (const auto& y : row) squares += y[3] * y[3];
    const double rms = std::sqrt(squares / double(weight.rows));
    for (const auto& y : row)
      for (size_t i = 0; i < 3; ++i) errors.relative[i].add(std::fabs(y[i] - y[3]) / rms);
  }
  ++errors.matrices;
  errors.file_columns = weight.columns;
  errors.columns = columns;
}

/// What the model's operations named *.attn_norm, *.ffn_norm and *.act gave for a fixed prompt.
using Captured = std::map<std::string, std::vector<float>, std::less<>>;
inline Result<Captured> capture(const op::Program& program) {
  op::ExecutorOptions options;
  options.context = 64;
  options.threads = 1;
  auto executor = cpu::make_executor(program, options);
  if (!executor) return executor.error();
  const std::vector<int32_t> tokens = {504, 3575, 282, 4649, 314};  // "The capital of France is"
  if (program.vocabulary <= 4649) return Error{"the vocabulary lacks the fixed prompt's tokens"};
  std::vector<uint32_t> positions(tokens.size()), sequences(tokens.size());
  std::iota(positions.begin(), positions.end(), 0u);
  const std::vector<uint32_t> selected = {uint32_t(tokens.size() - 1)};
  Captured captured;
  (*executor)->run({tokens, positions, sequences, selected},
                   [&](const op::Operation& operation, std::span<const float> output) {
                     for (const char* end : {".attn_norm", ".ffn_norm", ".act"})
                       if (operation.name.ends_with(end))
                         captured[operation.name].assign(output.begin(), output.end());
                   });
  return captured;
}

inline std::string format_tables(const std::map<std::string, Errors>& kinds) {
  std::string u =
      "Error against the same int8 codes in f64, in u = 2^-24 of |W||x|; over: outputs beyond the "
      "judge's limit.\n\n| matrices | columns | outputs | limit | A max | A RMS | A over | A2 max "
      "| "
      "A2 RMS | A2 over |\n|---|---|---|---|---|---|---|---|---|---|\n";
  std::string relative =
      "Error against W·x with x not quantised, of the outputs' RMS; int8: the codes alone, summed "
      "in f64.\nQ4_K: what writing the weights again changed, RMS, of the weights' RMS.\n\n| "
      "matrices | A max | A2 max | int8 max | A RMS | A2 RMS | int8 RMS | Q4_K |\n"
      "|---|---|---|---|---|---|---|---|\n";
  for (const auto& [name, e] : kinds) {
    const std::string title = fmt::format("| {} × {} |", e.matrices, name);
    u += fmt::format("{} {} of {} | {} | {:.1f} |", title, e.columns, e.file_columns, e.u[0].count,
                     trace::quantised_matmul_limit(e.columns));
    for (const Spread& spread : e.u)
      u += fmt::format(" {:.2f} | {:.3f} | {} |", spread.largest, spread.rms(), spread.over);
    u += "\n";
    relative += title;
    for (const Spread& spread : e.relative) relative += fmt::format(" {:.6f} |", spread.largest);
    for (const Spread& spread : e.relative) relative += fmt::format(" {:.7f} |", spread.rms());
    relative += fmt::format(" {:.3f} |\n", e.encoded.rms() / e.file_weights.rms());
  }
  return u + "\n" + relative;
}

/// Both tables for a model file, one line a kind of matrix.
inline Result<std::string> error_tables(const std::string& path) {
  const auto file = gguf::File::open(path);
  if (!file) return file.error();
  const auto program = model::build(*file);
  if (!program) return program.error();
  const auto captured = capture(*program);
  if (!captured) return captured.error();
  std::map<std::string, Errors> kinds;
  for (const op::Operation& operation : program->operations) {
    if (operation.kind != op::Kind::matmul) continue;
    const auto input = captured->find(program->values[operation.inputs[0]].name);
    const op::Weight& weight = program->weights[operation.weight];
    if (input == captured->end() || weight.columns < chunk) continue;
    add_matrix(weight, input->second, kinds[operation.name.substr(operation.name.rfind('.') + 1)]);
  }
  if (kinds.empty()) return Error{path + ": no matrix of at least 256 columns to measure"};
  return format_tables(kinds);
}

}  // namespace assay::bench
