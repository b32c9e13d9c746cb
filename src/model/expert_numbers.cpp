// The numbers of routers and experts.
#include <fmt/format.h>

#include <algorithm>

#include "model/numbers.h"

namespace assay::model {

namespace {

using Where = Experts::Where;

bool has_experts(Reader& read, Where where, uint32_t layer, uint32_t dense, uint32_t step) {
  switch (where) {
    case Where::nowhere:
      return false;
    case Where::everywhere:
    case Where::counted:
      return true;
    case Where::after_dense:
      return layer >= dense;
    case Where::in_steps:
      return step > 0 && layer >= dense && (layer + 1) % step == 0;
    case Where::by_tensor:
    case Where::routed:
      return read.has_tensor(fmt::format("blk.{}.ffn_gate_inp.weight", layer));
  }
  return false;
}

/// The scores, the choice and the weights of a router.
void read_router(Reader& read, const Experts& experts, Numbers& n, uint32_t used) {
  op::Route& router = n.experts.router;
  router.used = used;
  uint32_t code = experts.scores == Experts::Scores::softmax   ? 1
                  : experts.scores == Experts::Scores::sigmoid ? 2
                                                               : 3;
  if (experts.scores == Experts::Scores::key) {
    constexpr std::string_view key = "expert_gating_func";
    code = read.integer_or(key, 0, UINT32_MAX, 0);
    if (code == 0) code = experts.default_scores;
    if (code < 1 || code > 3)
      read.fail(
          fmt::format("{} is {}; supported: 1 (softmax), 2 (sigmoid), 3 (softmax of the "
                      "chosen)",
                      read.key(key), code));
  }
  router.sigmoid = code == 2;
  router.of_chosen = code == 3;
  using Renormalise = Experts::Renormalise;
  router.renormalise = experts.renormalise == Renormalise::always;
  if (experts.renormalise == Renormalise::key || experts.renormalise == Renormalise::key_or_always)
    router.renormalise =
        read.flag_or("expert_weights_norm", experts.renormalise == Renormalise::key_or_always);
  if (experts.scale) router.scale = float(read.real_or_off("expert_weights_scale", -1e6, 1e6, 1.0));

  constexpr std::string_view key = "expert_group_count", used_key = "expert_group_used_count";
  const uint32_t groups = read.integer_or(key, 0, n.experts.count, 0);
  if (groups < 2) return;
  if (!read.has_key(used_key)) read.fail(fmt::format("{} is missing", read.key(used_key)));
  router.groups = groups;
  router.used_groups = read.integer_or(used_key, 1, groups, 1);
  router.by_two = 1;
  const uint32_t size = n.experts.count / groups;
  if (n.experts.count % groups || size < 2 || used > size * router.used_groups)
    read.fail(fmt::format("{} is {}: {} of {} experts cannot be chosen from {} groups",
                          read.key(key), groups, used, n.experts.count, router.used_groups));
}

uint32_t width_of_expert(Reader& read, Experts::Width width, const Numbers& n, uint32_t used) {
  constexpr std::string_view key = "expert_feed_forward_length";
  const uint32_t ffn = read.first_of_blocks("feed_forward_length", 0, largest_width, n.blocks, {});
  if (width == Experts::Width::ffn) return ffn;
  if (width == Experts::Width::own)
    return read.first_of_blocks(key, 1, largest_width, n.blocks, {});
  const uint32_t own = read.first_of_blocks(key, 0, largest_width, n.blocks, 0);
  return own ? own : width == Experts::Width::own_or_ffn ? ffn : ffn / used;
}

uint32_t width_of_shared(Reader& read, const Experts& experts, const Numbers& n) {
  using Shared = Experts::Shared;
  if (experts.shared == Shared::none) return 0;
  const auto of_key = [&](std::string_view key, uint32_t most, uint32_t fallback) {
    return read.integer_or(key, 0, most, fallback);
  };
  const uint32_t own = of_key("expert_shared_feed_forward_length", largest_width, 0);
  const uint32_t count = of_key("expert_shared_count", 4096, experts.default_shared_count);
  const uint32_t counted = std::min<uint64_t>(uint64_t(n.experts.width) * count, largest_width);
  switch (experts.shared) {
    case Shared::none:
      return 0;
    case Shared::counted:
      return counted;
    case Shared::counted_own:
      return std::min<uint64_t>(uint64_t(own ? own : n.experts.width) * count, largest_width);
    case Shared::own_or_counted:
      return count && own ? own : counted;
    case Shared::own:
      return own;
    case Shared::own_or_expert:
      return own ? own : n.experts.width;
    case Shared::own_or_ffn:
      return own ? own
                 : read.first_of_blocks("feed_forward_length", 1, largest_width, n.blocks, {});
  }
  return 0;
}

}  // namespace

void read_experts(Reader& read, const Architecture& architecture, Numbers& n) {
  const Experts& experts = architecture.experts;
  const uint32_t count = read.integer_or("expert_count", 0, 65536, 0);
  const uint32_t used = read.first_of_blocks("expert_used_count", 0, 65536, n.blocks, 0);
  if (read.failed()) return;
  if (used > count || (count && !used))
    read.fail(fmt::format("{} is {}, of {} experts", read.key("expert_used_count"), used, count));
  if (count == 0 && read.integer_or("expert_group_count", 0, 65536, 0) > 1)
    read.fail(fmt::format("{} is set for '{}', of 0 experts", read.key("expert_group_count"),
                          architecture.name));
  const bool none =
      experts.where == Where::nowhere || (experts.where == Where::counted && count == 0);
  if (none || read.failed()) return;
  const uint32_t dense = read.integer_or("leading_dense_block_count", 0, n.blocks, 0);
  uint32_t step = 1;
  if (experts.where == Where::in_steps) {
    constexpr std::string_view key = "interleave_moe_layer_step";
    if (!read.has_key(key)) read.fail(fmt::format("{} is missing", read.key(key)));
    step = read.integer_or(key, 0, 65536, 0);
  }
  for (uint32_t i = 0; i < n.layers.size(); ++i)
    n.layers[i].experts = has_experts(read, experts.where, i, dense, step);
  if (std::ranges::none_of(n.layers, &LayerNumbers::experts)) return;
  if (count == 0) {
    read.fail(fmt::format("{} is {}: '{}' has experts", read.key("expert_count"),
                          read.has_key("expert_count") ? "0" : "missing", architecture.name));
    return;
  }
  n.experts.count = count;
  read_router(read, experts, n, used);
  if (read.failed()) return;
  n.experts.width = width_of_expert(read, experts.width, n, used);
  if (n.experts.width == 0) read.fail("the width of an expert is zero");
  n.experts.shared_width = width_of_shared(read, experts, n);
  if (experts.clamp) {
    constexpr std::string_view key = "swiglu_clamp_exp";
    if (!read.has_key(key)) read.fail(fmt::format("{} is missing", read.key(key)));
    n.experts.clamp = read.reals_of_blocks(key, 0, 1e30, n.blocks, 0);
  }
}

}  // namespace assay::model
