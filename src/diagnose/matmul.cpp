// Matrix products: rows 2 to 10 of the catalogue.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <set>

#include "diagnose/case.h"
#include "judge/product.h"
#include "lang/lang.h"
#include "quant/fields.h"

namespace assay::diagnose {

using judge::Judged;
using judge::Table;
using judge::WeightRow;

namespace {

const op::Weight& weight_of(const Case& the) {
  return the.program.weights[the.operation.weight];
}
const op::Weight* bias_of(const Case& the) {
  return the.program.bias_of(the.operation);
}

void offer_weight(const Case& the, Contest& contest, Cause cause, const op::Weight& weight,
                  double price) {
  contest.offer_nearly(
      std::move(cause),
      judged(the, judge::multiply(weight, bias_of(the), the.input(0), the.scene.coding)), price);
}

/// How activations meet a weight of another type: as they meet this one, where they can.
judge::Coding coding_of(const Case& the, uint32_t type) {
  const auto codings = judge::codings(the.scene.contract, type);
  const bool same = std::ranges::find(codings, the.scene.coding) != codings.end();
  return same ? the.scene.coding : codings[0];
}

/// The same tensor from other bytes.
struct Bytes {
  op::Weight weight;
  std::vector<uint8_t> owned;
};

Bytes late(const op::Weight& weight, uint64_t bytes) {
  Bytes out{weight, std::vector<uint8_t>(weight.data.size(), 0)};
  std::memcpy(out.owned.data(), weight.data.data() + bytes, weight.data.size() - bytes);
  out.weight.data = out.owned;
  return out;
}

/// Rows of each head in the other pairing's order.
Bytes repaired(const op::Weight& weight, uint32_t head_dim, bool to_neighbours) {
  Bytes out{weight, {}};
  for (uint64_t r = 0; r < weight.rows; ++r) {
    const uint64_t head = r / head_dim * head_dim, lane = r % head_dim, half = head_dim / 2;
    const uint64_t source =
        to_neighbours ? lane / 2 + lane % 2 * half : lane % half * 2 + lane / half;
    const auto row = weight.row(head + source);
    out.owned.insert(out.owned.end(), row.begin(), row.end());
  }
  out.weight.data = out.owned;
  return out;
}

/// A tensor of these rows' bytes: piece `piece` of row `row` is what source(row, piece) says.
template <class Source>
Bytes of_pieces(const op::Weight& weight, uint64_t piece_bytes, const Source& source) {
  Bytes out{weight, {}};
  for (uint64_t r = 0; r < weight.rows; ++r)
    for (uint64_t piece = 0; piece * piece_bytes < weight.row_bytes(); ++piece) {
      const auto [row, at] = source(r, piece);
      const auto bytes = weight.row(row).subspan(at * piece_bytes, piece_bytes);
      out.owned.insert(out.owned.end(), bytes.begin(), bytes.end());
    }
  out.weight.data = out.owned;
  return out;
}

/// Rows whose blocks take turns, as kernels for several rows at a time want them; rows that begin
/// again, where an offset is too large for its type.
void try_orders_of_rows(const Case& the, Contest& contest) {
  const op::Weight& weight = weight_of(the);
  const auto info = quant::info(weight.type);
  const uint64_t blocks = weight.columns / info.block_size;
  using Place = std::pair<uint64_t, uint64_t>;
  const auto offer = [&](Cause cause, const Bytes& read, double price) {
    contest.offer(
        std::move(cause),
        judged(the, judge::multiply(read.weight, bias_of(the), the.input(0), the.scene.coding)),
        price);
  };
  for (const uint64_t several : {4u, 8u, 16u})
    if (info.block_size > 1 && blocks > 1 && weight.rows % several == 0)
      offer({"weight-repacked", "rows are read from a layout for several rows at a time",
             fmt::format("blocks of {} rows take turns", several)},
            of_pieces(weight, info.block_bytes,
                      [&](uint64_t r, uint64_t block) {
                        const uint64_t at = r % several * blocks + block;
                        return Place{r / several * several + at % several, at / several};
                      }),
            price::of(3));
  uint64_t first = 0;
  const auto fails = [&](uint64_t r) {
    for (uint64_t t = 0; t < the.tokens(); ++t)
      if (the.fails(t, r)) return true;
    return false;
  };
  while (first < weight.rows && !fails(first)) ++first;
  if (first > 0 && first < weight.rows)
    offer({"row-wraps", "rows begin again", fmt::format("row {} has what is row 0's", first)},
          of_pieces(weight, weight.row_bytes(),
                    [&](uint64_t r, uint64_t) {
                      return Place{r % first, 0};
                    }),
          8 + price::of(double(weight.rows)));
}

void try_bytes(const Case& the, Contest& contest) {
  const op::Weight& weight = weight_of(the);
  const auto info = quant::info(weight.type);
  for (uint64_t n = 1; n <= 4; ++n) {
    if (n < weight.rows) {
      const Bytes moved = late(weight, n * weight.row_bytes());
      offer_weight(the, contest,
                   {"weight-row-shift", "the tensor is read some rows late",
                    fmt::format("{} row{}", n, n == 1 ? "" : "s")},
                   moved.weight, price::of(4));
    }
    if (n * info.block_bytes < weight.data.size()) {
      const Bytes moved = late(weight, n * info.block_bytes);
      offer_weight(the, contest,
                   {"weight-block-shift", "the tensor is read some blocks late",
                    fmt::format("{} block{}", n, n == 1 ? "" : "s")},
                   moved.weight, price::of(4));
    }
  }
  const uint32_t head_dim = the.program.head_dim_of(the.operation);
  if (head_dim > 0 && head_dim % 2 == 0 && weight.rows % head_dim == 0)
    for (const bool to_neighbours : {true, false})
      offer_weight(the, contest,
                   {"weight-permuted", "the rows of each head are in the other order",
                    to_neighbours ? "halves read as neighbours" : "neighbours read as halves"},
                   repaired(weight, head_dim, to_neighbours).weight, 1);
  // Another format with blocks of the same size.
  quant::visit_all([&]<class F>() {
    if (F::id == weight.type || F::block_bytes != info.block_bytes ||
        F::block_size != info.block_size)
      return;
    op::Weight read = weight;
    read.type = F::id;
    contest.offer(
        {"weight-type", "the tensor is read as another format", std::string(quant::name_of<F>)},
        judged(the, judge::multiply(read, bias_of(the), the.input(0), coding_of(the, F::id))), 1);
  });
  // Another tensor of this shape.
  for (const op::Weight& other : the.program.weights) {
    if (&other == &weight || other.rows != weight.rows || other.columns != weight.columns) continue;
    if (contest.decided()) break;
    const bool tied = the.operation.name == "logits";
    contest.offer(
        {tied ? "weight-tied-head" : "weight-other",
         tied ? "the head is another matrix" : "the product is with another tensor", other.name},
        judged(the, judge::multiply(other, bias_of(the), the.input(0), coding_of(the, other.type))),
        price::of(double(the.program.weights.size())));
  }
}

/// Rows taken apart, as numbers: for activations that are not coded.
Judged decoded(const Case& the, const judge::RowSource& source) {
  const op::Weight& weight = weight_of(the);
  std::vector<float> values(weight.rows * weight.columns);
  WeightRow row;
  for (uint64_t r = 0; r < weight.rows; ++r) {
    source(r, row);
    const uint64_t group = weight.columns / row.scale.size();
    for (uint64_t c = 0; c < weight.columns; ++c)
      values[r * weight.columns + c] =
          float(row.scale[c / group] * row.code[c] + row.minimum[c / group]);
  }
  op::Weight plain = weight;
  plain.type = quant::F32::id;
  plain.data = {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)};
  return judged(the, judge::multiply(plain, bias_of(the), the.input(0), the.scene.coding));
}

/// Element (r, c) from where it would lie in a tensor of (columns, rows): plain numbers, times the
/// activations as they are coded.
void try_transposed(const Case& the, Contest& contest) {
  const op::Weight& weight = weight_of(the);
  std::vector<float> values(weight.rows * weight.columns);
  quant::decode_row(weight.type, weight.data, values);
  std::vector<float> turned(values.size());
  for (uint64_t r = 0; r < weight.rows; ++r)
    for (uint64_t c = 0; c < weight.columns; ++c)
      turned[r * weight.columns + c] = values[c * weight.rows + r];
  op::Weight plain = weight;
  plain.type = quant::F32::id;
  plain.data = {reinterpret_cast<const uint8_t*>(turned.data()), turned.size() * sizeof(float)};
  Table x = the.input(0);
  judge::Coding coding = the.scene.coding;
  if (coding.meets_codes()) {
    x = judge::decoded(x, coding).values;
    coding = {};
  }
  contest.offer_nearly({"weight-transposed", "the tensor is read as its transpose", ""},
                       judged(the, judge::multiply(plain, bias_of(the), x, coding)));
}

// --- how a block is taken apart: rows 3 to 7 ---

using Change = std::function<void(const uint8_t* block, uint64_t first_column, WeightRow& row)>;

void offer_change(const Case& the, Contest& contest, Cause cause, const Change& change,
                  double price = 0) {
  const op::Weight& weight = weight_of(the);
  const auto info = quant::info(weight.type);
  const auto source = [&](uint64_t r, WeightRow& row) {
    judge::read_weight_row(weight, r, the.scene.coding, row);
    const uint8_t* bytes = weight.row(r).data();
    for (uint64_t b = 0; b * info.block_size < weight.columns; ++b)
      change(bytes + b * info.block_bytes, b * info.block_size, row);
  };
  contest.offer(std::move(cause),
                the.scene.coding.meets_codes()
                    ? judged(the, judge::multiply_rows(weight, source, bias_of(the), the.input(0),
                                                       the.scene.coding))
                    : decoded(the, source),
                price);
}

/// Codes of a block in another order: out[i] = in[place(i)].
template <class Place>
Change reordered(uint32_t block_size, Place place) {
  return [=](const uint8_t*, uint64_t first, WeightRow& row) {
    std::vector<int16_t> before(row.code.begin() + std::ptrdiff_t(first),
                                row.code.begin() + std::ptrdiff_t(first + block_size));
    for (uint32_t i = 0; i < block_size; ++i) row.code[first + i] = before[place(i)];
  };
}

template <class F>
void try_orders(const Case& the, Contest& contest) {
  if constexpr (F::code_bits == 4) {
    const uint32_t half = quant::nibble_distance<F>();
    if (half == 0) return;
    offer_change(the, contest, {"nibbles-swapped", "low and high nibbles are exchanged", ""},
                 reordered(F::block_size, [=](uint32_t i) { return i ^ half; }));
    offer_change(
        the, contest,
        {"nibbles-interleaved", "nibbles are read as neighbours", "byte j as weights 2j, 2j + 1"},
        reordered(F::block_size, [=](uint32_t i) {
          return i / (2 * half) * 2 * half + i % 2 * half + i % (2 * half) / 2;
        }));
  }
  if constexpr (F::id == quant::Q6_K::id) {
    // Quarters of 32 within each half: every order of the four.
    std::array<uint32_t, 4> order = {0, 1, 2, 3};
    while (std::ranges::next_permutation(order).found)
      offer_change(
          the, contest,
          {"q6k-order", "Q6_K's quarters are in another order",
           fmt::format("{} {} {} {}", order[0], order[1], order[2], order[3])},
          reordered(256,
                    [=](uint32_t i) { return i / 128 * 128 + order[i % 128 / 32] * 32 + i % 32; }),
          price::of(24));
  }
}

/// Calls each(group index in the row, group in the block) for a block's groups.
template <class F, class Each>
void groups_of(uint64_t first, Each each) {
  for (uint32_t g = 0; g < F::block_size / F::group_size; ++g) each(first / F::group_size + g, g);
}

double as_bf16(uint16_t bits) {
  return double(k_float(uint32_t(bits) << 16));
}

template <class F>
void try_minimums(const Case& the, Contest& contest) {
  if constexpr (F::has_minimum) {
    offer_change(the, contest, {"minimum-ignored", "the blocks' minimum is left out", ""},
                 [](const uint8_t*, uint64_t first, WeightRow& row) {
                   groups_of<F>(first, [&](uint64_t at, uint32_t) { row.minimum[at] = 0; });
                 });
    offer_change(the, contest, {"minimum-sign", "the blocks' minimum has the wrong sign", ""},
                 [](const uint8_t*, uint64_t first, WeightRow& row) {
                   groups_of<F>(first, [&](uint64_t at, uint32_t) { row.minimum[at] *= -1; });
                 });
  }
}

template <class F>
void try_scales(const Case& the, Contest& contest) {
  constexpr bool nested = quant::is_super_block<F>;
  if (quant::scale_field<F>().found)
    offer_change(the, contest, {"scale-bf16", "f16 scales are read as bf16", ""},
                 [](const uint8_t* block, uint64_t first, WeightRow& row) {
                   const double d = double(k_f16_to_f32(F::scale_bits(block, 0)));
                   const double ratio = d != 0 ? as_bf16(F::scale_bits(block, 0)) / d : 0;
                   double least = 0;
                   if constexpr (F::has_minimum) {
                     const double m = double(k_f16_to_f32(F::minimum_bits(block)));
                     least = m != 0 ? as_bf16(F::minimum_bits(block)) / m : 0;
                   }
                   groups_of<F>(first, [&](uint64_t at, uint32_t) {
                     row.scale[at] *= ratio;
                     row.minimum[at] *= least;
                   });
                 });
  if (quant::has_several_scales<F>()) {
    offer_change(
        the, contest,
        {"scale-stuck", "the scale map is right in the first group only", "its scale for all"},
        [](const uint8_t*, uint64_t first, WeightRow& row) {
          groups_of<F>(first, [&](uint64_t at, uint32_t g) {
            row.scale[at] = row.scale[at - g];
            row.minimum[at] = row.minimum[at - g];
          });
        });
  }
  if constexpr (nested && F::has_minimum) {
    offer_change(the, contest, {"d-dmin-swapped", "d and dmin are exchanged", ""},
                 [](const uint8_t* block, uint64_t first, WeightRow& row) {
                   const double d = double(k_f16_to_f32(F::scale_bits(block, 0)));
                   const double m = double(k_f16_to_f32(F::minimum_bits(block)));
                   groups_of<F>(first, [&](uint64_t at, uint32_t g) {
                     row.scale[at] = m * F::scale_code(block, g);
                     row.minimum[at] = double(F::minimum_sign) * d * F::minimum_code(block, g);
                   });
                 });
  }
  if constexpr (F::id == quant::Q4_K::id || F::id == quant::Q5_K::id) {
    const auto with_codes = [&](Cause cause, auto scale_code, auto minimum_code) {
      offer_change(the, contest, std::move(cause),
                   [=](const uint8_t* block, uint64_t first, WeightRow& row) {
                     const double d = double(k_f16_to_f32(F::scale_bits(block, 0)));
                     const double m = double(k_f16_to_f32(F::minimum_bits(block)));
                     groups_of<F>(first, [&](uint64_t at, uint32_t g) {
                       row.scale[at] = d * scale_code(block, g);
                       row.minimum[at] = double(F::minimum_sign) * m * minimum_code(block, g);
                     });
                   });
    };
    const auto low = [](auto code) {
      return [=](const uint8_t* block, uint32_t g) {
        return g < 4 ? code(block, g) : code(block, g) & 15;
      };
    };
    const auto scale = [](const uint8_t* block, uint32_t g) { return F::scale_code(block, g); };
    const auto least = [](const uint8_t* block, uint32_t g) { return F::minimum_code(block, g); };
    const auto packed = [](const uint8_t* block, uint32_t g) {
      return int32_t(k_load_u16(block + 4 + 6 * g / 8) >> (6 * g % 8)) & 63;
    };
    with_codes({"scale-high-bits", "the top bits of the scales of groups 4 to 7 are lost", ""},
               low(scale), low(least));
    with_codes({"scale-high-bits", "the top bits of the scales of groups 4 to 7 are lost",
                "the scales' alone"},
               low(scale), least);
    with_codes({"scale-map", "six-bit scales are read one after another", ""}, packed, least);
  }
}

void try_formats(const Case& the, Contest& contest) {
  quant::visit(weight_of(the).type, [&]<class F>() {
    if constexpr (!quant::is_float_format<F>) {
      try_minimums<F>(the, contest);
      try_scales<F>(the, contest);
      try_orders<F>(the, contest);
    }
  });
}

// --- edges: rows 8 to 10 ---

/// The last `tail` columns of the activations are zeros.
Judged without_tail(const Case& the, uint64_t tail) {
  Table x = the.input(0);
  // The codes of a shared block must stay: zeros come after coding.
  const op::Weight& weight = weight_of(the);
  if (the.scene.coding.meets_codes()) {
    const auto source = [&](uint64_t r, WeightRow& row) {
      judge::read_weight_row(weight, r, the.scene.coding, row);
      const uint64_t group = weight.columns / row.scale.size(), end = weight.columns - tail;
      std::fill(row.code.begin() + std::ptrdiff_t(end), row.code.end(), int16_t(0));
      for (uint64_t g = (end + group - 1) / group; g < row.minimum.size(); ++g) row.minimum[g] = 0;
    };
    return judged(the, judge::multiply_rows(weight, source, bias_of(the), x, the.scene.coding));
  }
  for (uint64_t t = 0; t < x.rows; ++t)
    std::fill(x.row(t).end() - std::ptrdiff_t(tail), x.row(t).end(), 0.0);
  return judged(the, judge::multiply(weight, bias_of(the), x, the.scene.coding));
}

/// Whether every token of the step fails, and the same operation passes in a step of fewer: then the
/// path is a shape's.
bool smaller_steps_pass(const Case& the, uint64_t& most) {
  most = 0;
  for (uint64_t t = 0; t < the.tokens(); ++t) {
    bool fails = false;
    for (uint64_t r = 0; r < the.got().width && !fails; ++r) fails = the.fails(t, r);
    if (!fails) return false;
  }
  for (uint32_t step = 0; step < the.steps().size(); ++step) {
    const uint64_t tokens = the.steps()[step].tokens.size();
    if (tokens >= the.tokens()) continue;
    const auto scene = the.scene_at(step, the.scene.operation);
    if (scene && judge::compare(scene->output, diff::expect(the.program, *scene)).failures == 0)
      most = std::max(most, tokens);
  }
  return most > 0;
}

/// The number of last columns whose product alone is what the engine lacks, from some of its
/// failures; 0 where there is none.
uint64_t fitted_tail(const Case& the) {
  const op::Weight& weight = weight_of(the);
  std::vector<double> left(weight.columns + 1, 0.0);
  uint64_t found = 0;
  for (uint64_t r = 0; r < the.got().width && found < 8; ++r)
    for (uint64_t t = 0; t < the.tokens() && found < 8; ++t) {
      if (!the.fails(t, r) || !std::isfinite(the.got().row(t)[r])) continue;
      ++found;
      const std::vector<double> w = judge::decode_row(weight, r);
      const auto x = the.input(0).row(t);
      const double scale = the.usual.scale.row(t)[r];
      double lacking = (the.usual.want.row(t)[r] - the.got().row(t)[r]) / scale;
      for (uint64_t tail = 1; tail <= weight.columns; ++tail) {
        lacking -= w[weight.columns - tail] * x[weight.columns - tail] / scale;
        left[tail] += lacking * lacking;
      }
    }
  if (found == 0) return 0;
  return uint64_t(std::min_element(left.begin() + 1, left.end()) - left.begin());
}

void try_tails(const Case& the, Contest& contest) {
  const uint64_t columns = weight_of(the).columns, fitted = fitted_tail(the);
  // Decoded weights tell it but for activations of nearly nothing, and what coding does to them: beside
  // one large activation the others of its block count as nothing.
  const uint64_t blocks = fitted / 32 * 32;
  for (const uint64_t tail :
       {fitted, fitted - 1, fitted + 1, fitted - 2, fitted + 2, blocks, blocks + 32}) {
    if (tail == 0 || tail >= columns || contest.decided()) continue;
    uint64_t most = 0;
    Cause cause{"k-tail", "the last columns are not summed", fmt::format("{} columns", tail)};
    Judged altered = without_tail(the, tail);
    if (!contest.offer(cause, altered, price::of(double(columns)))) continue;
    if (smaller_steps_pass(the, most))
      contest.rename(
          {"matmul-path", "a path of the kernel for many tokens is wrong",
           fmt::format("right with {} token{}; with {} the last {} columns are not summed", most,
                       most == 1 ? "" : "s", the.tokens(), tail)});
  }
}

// --- whole rows ---

/// For every row of the result the one that it should have been, in all tokens; its own where none
/// fits.
std::vector<uint64_t> sources_of_rows(const Case& the, uint64_t& found) {
  const Table &got = the.got(), &want = the.usual.want;
  const auto is = [&](uint64_t r, uint64_t source, uint64_t t) {
    const double allowed =
        the.usual.limit_at(t, source) * 0x1p-24 * the.usual.scale.row(t)[source] +
        the.usual.slack_at(t, source);
    return std::fabs(got.row(t)[r] - want.row(t)[source]) <= allowed;
  };
  std::vector<uint64_t> by_value(want.width), sources(want.width);
  std::iota(by_value.begin(), by_value.end(), 0u);
  std::ranges::sort(by_value, {}, [&](uint64_t r) { return want.row(0)[r]; });
  found = 0;
  for (uint64_t r = 0; r < got.width; ++r) {
    sources[r] = r;
    const auto near = std::ranges::lower_bound(by_value, got.row(0)[r], {},
                                               [&](uint64_t s) { return want.row(0)[s]; }) -
                      by_value.begin();
    const auto first = std::max<std::ptrdiff_t>(0, near - 4);
    const auto last = std::min<std::ptrdiff_t>(near + 4, std::ptrdiff_t(want.width));
    for (auto i = first; i < last; ++i) {
      const uint64_t source = by_value[size_t(i)];
      bool all = true;
      for (uint64_t t = 0; t < got.rows && all; ++t) all = is(r, source, t);
      if (!all) continue;
      sources[r] = source;
      ++found;
      break;
    }
  }
  return sources;
}

Judged with_rows(const Judged& usual, const std::vector<uint64_t>& sources) {
  Judged out = usual;
  const auto take = [&](Table& to, const Table& from) {
    if (from.data.size() <= 1) return;
    for (uint64_t t = 0; t < from.rows; ++t)
      for (uint64_t r = 0; r < from.width; ++r) to.row(t)[r] = from.row(t)[sources[r]];
  };
  take(out.want, usual.want);
  take(out.scale, usual.scale);
  take(out.limit, usual.limit);
  take(out.slack, usual.slack);
  return out;
}

void try_rows(const Case& the, Contest& contest) {
  uint64_t found = 0;
  const uint64_t rows = the.got().width;
  const std::vector<uint64_t> sources = sources_of_rows(the, found);
  if (found < rows - rows / 10) return;
  std::map<uint64_t, uint64_t> shifts;
  for (uint64_t r = 0; r < rows; ++r) ++shifts[(r + rows - sources[r]) % rows];
  const auto usual =
      std::ranges::max_element(shifts, {}, [](const auto& shift) { return shift.second; });
  const bool one = usual->first != 0 && usual->second >= rows - rows / 10;
  uint64_t moved = 0;
  while (moved + 1 < rows && sources[moved] == moved) ++moved;
  if (moved + 1 == rows && sources[moved] + 1 == moved) {
    contest.offer({"edge-row", "the last row computes the one before it", ""},
                  with_rows(the.usual, sources));
    return;
  }
  uint64_t all_moved = 0;
  std::set<uint64_t> distances;
  for (uint64_t r = 0; r < rows; ++r)
    if (sources[r] != r) {
      ++all_moved;
      distances.insert((r + rows - sources[r]) % rows);
    }
  // An order has every row once. Where rows are in two places, several that come from as far are a part
  // of the result that repeats another.
  const bool order = one || std::set(sources.begin(), sources.end()).size() == rows;
  if (!order && all_moved > 1 && distances.size() == 1) return;
  contest.offer(one ? Cause{"weight-rows-shifted", "the rows are shifted",
                            fmt::format("by {} of {}", usual->first, rows)}
                    : Cause{"weight-rows-permuted", "the rows are in another order",
                            fmt::format("row {} has what is row {}'s", moved, sources[moved])},
                with_rows(the.usual, sources),
                price::of(double(rows)) * (one ? 1.0 : double(all_moved)) + (order ? 0.0 : 3.0));
}

/// Results of the last rows, or of the last tokens, that nobody wrote.
void try_unwritten(const Case& the, Contest& contest) {
  const Table& got = the.got();
  uint64_t row = got.width, token = got.rows;
  const auto is_zero = [](double y) { return y == 0; };
  while (token > 0 && std::ranges::all_of(got.row(token - 1), is_zero)) --token;
  for (; row > 0; --row) {
    bool zeros = true;
    for (uint64_t t = 0; t < token && zeros; ++t) zeros = got.row(t)[row - 1] == 0;
    if (!zeros) break;
  }
  const auto offer = [&](Cause cause, uint64_t rows, uint64_t tokens, double price) {
    Table want = the.usual.want;
    for (uint64_t t = 0; t < want.rows; ++t)
      for (uint64_t r = 0; r < want.width; ++r)
        if (t >= tokens || r >= rows) want.row(t)[r] = 0;
    contest.offer(std::move(cause), std::move(want), price);
  };
  offer_zeros(the, contest);  // before what makes nearly nothing of them
  if (row < got.width && token == got.rows)
    offer({"row-tail", "the last rows stay unwritten",
           fmt::format("from row {} of {} on", row, got.width)},
          row, got.rows, 1);
  if (token < got.rows && token > 0)
    offer({"token-tail", "the last tokens stay unwritten",
           fmt::format("from token {} of {} on", token, got.rows)},
          got.width, token, 1);
}

}  // namespace

static void try_sums(const Case& the, Contest& contest) {
  judge::Coding halves = the.scene.coding;
  if (!halves.meets_codes() || halves.sums != judge::Coding::Sums::codes) return;
  halves.sums = judge::Coding::Sums::codes_f16;
  contest.offer({"sums-f16", "what a minimum meets, the sum of activations, is kept as f16", ""},
                judged(the, judge::multiply(weight_of(the), bias_of(the), the.input(0), halves)));
}

void try_matmul(const Case& the, Contest& contest) {
  if (bias_of(the)) {
    const Judged without =
        judged(the, judge::multiply(weight_of(the), nullptr, the.input(0), the.scene.coding));
    contest.offer({"bias", "the bias is not added", "or the trace holds the product before it"},
                  without);
    contest.offer({"bias", "the bias is added twice", ""}, twice(the, without));
  }
  try_unwritten(the, contest);
  try_formats(the, contest);
  try_sums(the, contest);
  try_tails(the, contest);
  if (!contest.decided()) try_bytes(the, contest);
  if (!contest.decided()) try_orders_of_rows(the, contest);
  if (!contest.decided()) try_transposed(the, contest);
  if (!the.scene.coding.is_plain() && !contest.decided())
    contest.offer({"contract-f32", "activations are not quantised", "", true},
                  judged(the, judge::multiply(weight_of(the), bias_of(the), the.input(0), {})));
  if (!contest.decided()) try_rows(the, contest);
  try_products(the, contest);
}

}  // namespace assay::diagnose
