// Appends a decoder's operations to a program, weights by name. Its members stand in the file of
// their part: builder.cpp (matrices, norms), attention.cpp, feed_forward.cpp, experts.cpp,
// decoder.cpp (blocks and ends).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/architecture.h"
#include "model/numbers.h"
#include "model/reader.h"
#include "op/program.h"

namespace assay::model {

/// A matrix with what a file may hold beside it.
struct Matrix {
  op::Weight weight;
  std::optional<op::Weight> bias = {};
  std::optional<float> scale = {};
  bool bias_last = false;  ///< (W·x)·s + b; else (W·x + b)·s
};

/// Rows `first` to `first + rows` of a matrix, as one of its own: "blk.0.attn_qkv.weight[q]".
Matrix slice(const Matrix& whole, std::string_view tag, uint64_t first, uint64_t rows);

/// What may stand beside NAME.weight.
struct Beside {
  Presence bias = Presence::absent;
  bool scale_counts = false;  ///< of NAME.scale, which may always be there
  bool bias_last = false;     ///< as Matrix's
};

/// A norm and its tensors, NAME.weight (or NAME) and NAME.bias.
struct NormOf {
  bool layer_norm = false;
  float eps = 0;
  uint32_t parts = 1;
  bool weight = true;        ///< else ones
  bool own_weights = false;  ///< of each part
  Presence bias = Presence::absent;
};

/// Where a block stands.
struct Block {
  std::string tensors;  ///< "blk.3."
  std::string names;    ///< of its operations: the same, unless a block runs more than once
  uint32_t layer = 0;   ///< counts passes
  uint32_t cache = 0;   ///< whose keys and values it reads
  uint32_t index = 0;   ///< in the file
  const LayerNumbers& numbers;
};

/// What a feed-forward part may read.
struct FeedForwardInputs {
  uint32_t block_input = op::none;  ///< x
  uint32_t middle = op::none;       ///< x after attention
  uint32_t normed = op::none;
};

/// One gated or plain product chain: names and tensors of the feed-forward part or a shared expert.
struct Chain {
  std::string_view suffix = {};  ///< of the tensors: "_shexp"
  std::string_view prefix = {};  ///< of the names: "shared_"
  uint64_t width = 0;
  FeedForward::Shape shape = FeedForward::Shape::gated;
  op::Activation activation = op::Activation::silu;
  Presence biases = Presence::absent;
  FeedForward::Scales scales = FeedForward::Scales::unused;
};

struct Builder {
  op::Program& program;
  Reader& read;
  const Architecture& architecture;
  const Numbers& n;
  uint32_t embedded = op::none;   ///< what the first block reads
  uint32_t per_layer = op::none;  ///< a part for each block, where there are such embeddings

  // builder.cpp
  Matrix matrix(const std::string& tensor, uint64_t rows, uint64_t columns, const Beside& beside);
  /// W·x, with the bias and the scale. Where there is a scale these are two operations, the first
  /// with "_unscaled" after its name.
  uint32_t product(const std::string& name, uint32_t input, const Matrix& m, uint32_t layer,
                   op::Role role = op::Role::inner);
  uint32_t norm(const std::string& name, uint32_t input, const std::string& tensor,
                const NormOf& of, uint32_t layer);
  /// A norm of rows as wide as the model, as the architecture has them.
  uint32_t model_norm(const std::string& name, uint32_t input, const std::string& tensor,
                      uint32_t layer, float eps = 0);
  uint32_t plain(op::Parameters of, const std::string& name, std::vector<uint32_t> inputs,
                 uint32_t layer, op::Role role = op::Role::inner);
  /// x·factor; x itself where the factor is 1.
  uint32_t scaled(const std::string& name, uint32_t input, double factor, uint32_t layer);
  uint32_t width_of(uint32_t value) const { return program.values[value].width; }

  // attention.cpp
  uint32_t attention(uint32_t normed, const Block& block);
  std::vector<Matrix> attention_inputs(const Block& block);
  std::vector<Matrix> separate_inputs(const Block& block, const std::vector<uint64_t>& rows);
  uint32_t head_norm(const Block& block, uint32_t input, std::string_view which, uint32_t heads);
  uint32_t turned(const Block& block, uint32_t input, std::string_view which, uint32_t heads);
  uint32_t clamped(const Block& block, uint32_t input, std::string_view which);
  uint32_t tempered(const Block& block, uint32_t q);
  /// The queries; keys and values go into the cache.
  uint32_t query_and_store(uint32_t normed, const Block& block);
  op::Attend attend(const Block& block);
  uint32_t attention_gate(const Block& block, uint32_t normed, uint32_t attended);

  // feed_forward.cpp
  uint32_t feed_forward(const FeedForwardInputs& inputs, const Block& block);
  uint32_t dense(uint32_t normed, const Block& block);
  uint32_t chain(uint32_t input, const Block& block, const Chain& of);
  uint32_t xielu(uint32_t input, const Block& block);

  // experts.cpp
  uint32_t experts(const FeedForwardInputs& inputs, const Block& block);
  uint32_t routing(const FeedForwardInputs& inputs, const Block& block);
  uint32_t expert_product(const Block& block, std::string_view which, uint32_t input,
                          uint32_t routing, uint64_t rows, uint64_t columns);
  uint32_t shared_expert(uint32_t normed, const Block& block);

  // decoder.cpp
  uint32_t embedding();
  uint32_t block(uint32_t x, const Block& block);
  uint32_t block_end(uint32_t x, const Block& block);
  uint32_t add_per_layer(uint32_t x, const Block& block);
  void per_layer_embeddings(uint32_t x);
  uint32_t blocks(uint32_t x);
  void head(uint32_t x);
};

}  // namespace assay::model
