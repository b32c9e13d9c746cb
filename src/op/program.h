// A model's program: named operations (operation.h) over named values for one step. Values are
// (tokens, width) row-major f32; weights are (rows, columns).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "op/operation.h"

namespace assay::op {

/// A weight as the file holds it: `rows` rows of `columns` weights in a format of quant/formats.h.
struct Weight {
  std::string name;
  uint32_t type = 0;
  uint64_t rows = 0, columns = 0;
  std::span<const uint8_t> data;

  uint64_t row_bytes() const { return rows ? data.size() / rows : 0; }
  std::span<const uint8_t> row(uint64_t r) const {
    return data.subspan(r * row_bytes(), row_bytes());
  }
};

/// A factor that grows with the position: 1 + slope·ln(1 + ⌊(position + offset) / every⌋).
struct PositionGrowth {
  double slope = 0;
  uint32_t every = 1, offset = 0;
};

/// Rotary embedding, or (`growth`) a factor of the position: what position_scale multiplies by; its
/// `dimensions` is 1 and there is no frequency. Pair i of a head (i < dimensions/2) turns by position·frequency[i]; both
/// outputs are multiplied by `magnitude`. Pairs are lanes (2i, 2i+1) where `adjacent`, else (i, i +
/// dimensions/2).
struct RopeTable {
  uint32_t dimensions = 0;  ///< lanes that turn; the rest of the head passes
  bool adjacent = true;
  double magnitude = 1.0;         ///< multiplies cos and sin
  std::vector<double> frequency;  ///< radians per position, (dimensions/2)
  std::optional<PositionGrowth> growth = {};
};

/// One KV cache: keys (positions, kv_heads·key_dim) and values (positions, kv_heads·value_dim) of
/// each sequence.
struct CacheShape {
  uint32_t kv_heads = 0, key_dim = 0, value_dim = 0;
  bool operator==(const CacheShape&) const = default;
};

/// What attention needs to know of its heads and its cache, together.
struct AttentionShape {
  uint32_t heads = 0, kv_heads = 0, key_dim = 0, value_dim = 0;
  float scale = 0;
  uint32_t window = 0;
  bool chunked = false;
  float soft_cap = 0, alibi = 0;

  /// The first key that a query at this position sees.
  uint32_t first_key(uint32_t position) const {
    if (window == 0) return 0;
    if (chunked) return position / window * window;
    return position < window ? 0 : position - window + 1;
  }
};

/// How much ALiBi takes from a head's score for each position of distance: 2^(−alibi·(h + 1)/n)
/// with n the largest power of two up to `heads`; heads from n on have the odd steps between:
/// 2^(−alibi·(2(h − n) + 1)/(2n)). 0 where `alibi` is 0. Source: Press et al. 2021.
float alibi_slope(float alibi, uint32_t head, uint32_t heads);

/// A value is (tokens, width), or (selected, width) after select_rows. Values of disjoint lifetime
/// share a buffer.
struct Value {
  std::string name;
  uint32_t width = 0;
  bool selected = false;
  uint32_t buffer = none;
};

struct Program {
  uint32_t vocabulary = 0, width = 0, layers = 0;
  uint32_t trained_context = 0;  ///< positions the model was trained for
  uint32_t context = 0;          ///< most positions of a sequence that the program was built for
  std::string rope_factors;      ///< "long" or "short" where `context` has chosen them, else empty
  std::vector<RopeTable> rope_tables;
  std::vector<CacheShape> caches;  ///< most models have one per layer
  /// Caches whose queries look back equally far form a group, which has pages of its own
  /// (op/paging.h). By group, ascending: the most keys that a query sees, its own among them; 0: all.
  std::vector<uint32_t> windows = {0};
  std::vector<uint32_t> groups = {};  ///< by cache, from group_caches(); empty: one group
  std::vector<Weight> weights;
  /// Bytes of weights that no file holds (add_constant()).
  std::vector<std::shared_ptr<const std::vector<float>>> constants = {};
  std::vector<Value> values;
  std::vector<Operation> operations;
  uint32_t buffers = 0;                ///< buffers that the values share
  std::vector<uint32_t> buffer_width;  ///< the widest value of each

  /// nullptr where the operation has none.
  const Weight* bias_of(const Operation& operation) const {
    return operation.bias == none ? nullptr : &weights[operation.bias];
  }

  /// The rotary table of a rope operation.
  const RopeTable& rope_of(const Operation& operation) const {
    return rope_tables[std::get<Rope>(operation.of).table];
  }
  /// Of an operation that reads or writes a cache; `heads` is 0 for kv_store.
  AttentionShape attention_of(const Operation& operation) const;
  uint32_t group_of(uint32_t cache) const { return groups.empty() ? 0 : groups[cache]; }
  uint32_t window_of(uint32_t cache) const { return windows[group_of(cache)]; }

  /// Translates the parameters of another program's operation to this program: the rotary table or
  /// cache shape that they refer to is added here.
  Parameters adopt(const Program& from, Parameters of);

  uint32_t add_value(std::string name, uint32_t width, bool selected = false);
  uint32_t add_weight(Weight weight);
  /// A row of F32 that the program itself holds. The name must say what it is: "ones(64)".
  uint32_t add_constant(std::string name, std::vector<float> row);
  /// Appends an operation and returns the index of its output (none for kv_store). If `output` is
  /// none, a value with the operation's name and the width that its kind produces is added for it;
  /// after select_rows it has the selected rows only. Throws std::logic_error if problem_of() finds
  /// a problem: that is our own mistake, since a file that does not fit is refused earlier
  /// (model/).
  uint32_t append(Operation operation);
  /// The length of a head in the operation's output: that of the rope or the norm per head that reads
  /// it, else that of the first cache's keys; 0 if there is neither.
  uint32_t head_dim_of(const Operation& operation) const;
  /// Gives values of disjoint lifetime the same buffer, and groups the caches. Call once, after the
  /// last operation.
  void assign_buffers();
  /// Makes `windows` and `groups` from the attentions that read each cache. A cache that none reads
  /// is kept whole.
  void group_caches();
};

/// For each value, the index of the last operation that reads or writes it. This comes from the
/// operations alone, not from the program's buffers, so that a wrong assignment of buffers can be
/// detected.
std::vector<size_t> last_uses(const Program& program);

inline constexpr uint32_t page_positions = 64;  ///< of a page: a chunk of attention's keys

/// Which pages each sequence uses in each group of caches, (sequences, groups, stride): positions
/// 64·c … 64·c + 63 are in page `row(sequence, group)[c]`. A page serves all caches of its group. A
/// chunk that no token of the step sees needs no page: its entry may be `none`. An empty table means
/// pages in order (op/paging.h).
struct PageTable {
  std::span<const uint32_t> pages;
  uint32_t stride = 0, groups = 1;

  std::span<const uint32_t> row(uint32_t sequence, uint32_t group = 0) const {
    return pages.subspan((size_t(sequence) * groups + group) * stride, stride);
  }
  uint32_t page_of(uint32_t sequence, uint32_t position, uint32_t group = 0) const {
    return row(sequence, group)[position / page_positions];
  }
};

/// One step: `tokens` new tokens, each at a position of a sequence. Within a sequence the positions
/// are consecutive and continue what the cache holds. Sequences with a common beginning may share
/// its pages, but a step never writes a position of a page twice.
struct Step {
  std::span<const int32_t> tokens;
  std::span<const uint32_t> positions;
  std::span<const uint32_t> sequences;
  std::span<const uint32_t>
      selected;          ///< indices into tokens, ascending: rows whose logits are wanted
  PageTable pages = {};  ///< has a row for each sequence of the step
};

}  // namespace assay::op
