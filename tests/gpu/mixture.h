// A small model of the second family: every kind of operation that the llama of TinyProgram has not.
#pragma once

#include "loops.h"

namespace assay::tests {

struct MixtureShape {
  uint32_t type = quant::Q4_0::id;
  uint32_t head_dim = 32;
  uint32_t window = 5;  ///< of the first layer's attention
  uint32_t experts = 4, used = 2;
};

/// Two layers. The first one's attention has a window and sinks; the second one's queries also see
/// the first one's cache. Experts and a shared expert, each with its own gate.
class Mixture {
 public:
  Sketch sketch;
  const op::Program& program = sketch.program;

  explicit Mixture(const MixtureShape& shape = {}) : sketch(7), shape_(shape) {
    op::Program& p = sketch.program;
    const uint32_t dim = shape.head_dim;
    p.width = width, p.layers = 2;
    p.caches.assign(2, {2, dim, dim});
    op::RopeParameters turns;
    turns.dimensions = dim / 2;
    p.rope_tables = {op::make_growth({0.3, 4, 1}), op::make_rope(turns, true),
                     op::make_rope(turns, false)};
    uint32_t x = sketch.add(op::Embed{}, {}, sketch.matrix(shape.type, vocabulary, width, 1));
    x = sketch.add(op::Add{},
                   {x, sketch.add(op::Embed{true}, {}, sketch.spread(800, width, 0, 1))});
    for (uint32_t layer = 0; layer < 2; ++layer) {
      x = attention(x, layer);
      x = feed_forward(x, layer);
    }
    x = sketch.norm(sketch.add(op::SelectRows{}, {x}));
    sketch.add(op::SoftCap{5}, {sketch.matmul(x, shape.type, vocabulary)});
    sketch.finish();
  }

 private:
  static constexpr uint32_t width = 64, heads = 4;

  uint32_t rope(uint32_t x, uint32_t table, uint32_t count) {
    return sketch.add(op::Rope{table, count}, {x});
  }
  uint32_t attend(uint32_t queries, uint32_t cache, bool special) {
    op::Attend p;
    p.cache = cache, p.heads = heads, p.scale = 0.2f;
    if (!special) return sketch.add(p, {queries});
    p.window = shape_.window, p.soft_cap = 9, p.alibi = 4;
    return sketch.add(p, {queries}, sketch.spread(1, heads, 1, 1));
  }
  uint32_t attention(uint32_t x, uint32_t layer) {
    const uint32_t dim = shape_.head_dim, type = shape_.type;
    const uint32_t normed = sketch.add(op::LayerNorm{1e-5f}, {x}, sketch.spread(1, width, 1, 0.3f),
                                       sketch.spread(1, width, 0, 0.1f));
    uint32_t q = sketch.matmul(normed, type, heads * dim, true);
    uint32_t k = sketch.matmul(normed, type, 2 * dim);
    const uint32_t v = sketch.matmul(normed, type, 2 * dim);
    q = sketch.add(op::RmsNorm{1e-5f, heads}, {q}, sketch.spread(1, heads * dim, 1, 0.3f));
    k = sketch.add(op::RmsNorm{1e-5f, 2}, {k}, sketch.spread(1, dim, 1, 0.3f));
    // The second layer's queries and keys turn by different tables.
    q = rope(q, 1, heads);
    k = rope(k, 1 + layer, 2);
    sketch.add(op::KvStore{layer}, {k, v});
    uint32_t y = attend(q, layer, layer == 0);
    if (layer == 1)
      y = sketch.add(op::Add{}, {y, attend(sketch.add(op::PositionScale{0}, {q}), 0, false)});
    // A gate for each head.
    y = sketch.add(op::Gate{op::Activation::sigmoid}, {sketch.matmul(normed, type, heads), y});
    return sketch.add(op::Add{}, {x, sketch.matmul(y, type, width)});
  }
  uint32_t experts(uint32_t x, uint32_t routing, uint32_t rows, bool bias) {
    const uint32_t columns = columns_of(x, routing);
    return sketch.add(op::MatmulExperts{shape_.experts}, {x, routing},
                      sketch.matrix(shape_.type, uint64_t(shape_.experts) * rows, columns),
                      bias ? sketch.spread(shape_.experts, rows, 0, 0.1f) : op::none);
  }
  /// The width of a row of x, which is one row or one for each slot.
  uint32_t columns_of(uint32_t x, uint32_t routing) const {
    const uint32_t all = program.values[x].width;
    return all == width ? all : all / (program.values[routing].width / 2);
  }
  uint32_t feed_forward(uint32_t x, uint32_t layer) {
    const uint32_t n = shape_.experts, type = shape_.type;
    const uint32_t normed = sketch.norm(x);
    op::Route router{.used = shape_.used, .renormalise = 1, .scale = 1.5f};
    router.sigmoid = layer, router.of_chosen = 0;
    const uint32_t routing =
        sketch.add(router, {sketch.matmul(normed, quant::F32::id, n)}, op::none,
                   layer == 1 ? sketch.spread(1, n, 0, 0.2f) : op::none);
    // The second layer's experts weigh what they are given, not what they give.
    const uint32_t in = layer == 1 ? sketch.add(op::SpreadExperts{}, {normed, routing}) : normed;
    const uint32_t gate = experts(in, routing, 96, true), up = experts(in, routing, 96, false);
    const uint32_t act = sketch.add(op::Gate{op::Activation::silu_clamped}, {gate, up});
    uint32_t down = experts(act, routing, width, true);
    if (layer == 0)
      down = sketch.add(op::ScaleExperts{}, {down, routing}, sketch.spread(1, n, 1, 0.2f),
                        sketch.spread(n, width, 0, 0.2f));
    uint32_t y = sketch.add(op::MixExperts{1 - layer}, {down, routing});
    uint32_t shared =
        sketch.add(op::Gate{}, {sketch.matmul(normed, type, 96), sketch.matmul(normed, type, 96)});
    shared = sketch.matmul(shared, type, width);
    shared = sketch.add(layer == 0 ? op::Parameters(op::Xielu{0.8f, 1.3f, 0.5f, -1e-6f})
                                   : op::Parameters(op::Activate{op::Activation::gelu_erf}),
                        {shared});
    y = sketch.add(op::Clamp{-3, 3}, {sketch.add(op::Add{}, {y, shared})});
    y = sketch.add(op::Add{}, {y, sketch.add(op::Slice{width / 4, width / 2, 2},
                                             {sketch.matmul(normed, type, 2 * width)})});
    return sketch.add(op::Add{}, {x, y});
  }

  MixtureShape shape_;
};

}  // namespace assay::tests
