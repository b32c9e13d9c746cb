// What sets one decoder apart from another. A file of this folder defines one Architecture, and
// list.cpp lists them. Whatever a trait does not say is as in llama: see decoder.cpp.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>

#include "model/conversion.h"
#include "model/keys.h"
#include "op/activation.h"

namespace assay::model {

/// Whether a file holds a tensor, or a key.
enum class Presence {
  absent,    ///< a file that has it is refused
  optional,  ///< it counts where it is there
  required,
  unused  ///< it may be there and means nothing
};

/// The value of a key that must be there; any other number is its default.
inline constexpr double must_be_there = std::numeric_limits<double>::quiet_NaN();

/// The norms of rows as wide as the model. Tensors are named without "blk.N." and ".weight"; ""
/// means that there is no norm there.
struct Norms {
  enum class Formula {
    rms,
    layer,
    rms_where_its_eps_is_set  ///< else layer
  };
  Formula formula = Formula::rms;
  bool weights = true;  ///< else none has a tensor
  Presence biases = Presence::absent;
  std::string_view before_attention = "attn_norm";
  std::string_view of_attention_alone = {};  ///< optional: then the feed-forward part keeps `x`'s
  std::string_view after_attention = {};     ///< of attention's result, before it is added
  std::string_view before_ffn = "ffn_norm";
  std::string_view after_ffn = {}, or_after_ffn = {};  ///< two names of one norm
  float eps_after = 0;                                 ///< of the norms after; 0: as the others
  float least_eps = 0;                                 ///< what an eps of 0 counts as; 0: refused
};

struct Embedding {
  enum class Scale { one, root_of_width, key };
  Scale scale = Scale::one;
  double default_scale = 0;  ///< of embedding_scale; 0: off
  enum class Norm { none, tensor, bare };
  Norm norm = Norm::none;                 ///< token_embd_norm, or a norm without a weight
  Presence positions = Presence::absent;  ///< position_embd: a row for each position is added
  bool may_be_head = false;               ///< without token_embd, output is the embedding
  Presence per_layer = Presence::absent;  ///< per_layer_token_embd, by its key
};

struct Head {
  Presence weight = Presence::optional;  ///< absent: the embedding is the head
  Presence bias = Presence::absent;
  enum class Scale { one, multiplies, divides };
  Scale scale = Scale::one;  ///< logit_scale, 0: off
  double default_scale = must_be_there;
  std::optional<double> soft_cap = {};  ///< default of final_logit_softcapping, 0: off
};

/// A norm of queries and keys.
struct HeadNorms {
  Presence presence = Presence::absent;
  enum class Over {
    head,        ///< one weight for all heads
    each_head,   ///< a row of weights for each head
    all_heads,   ///< one norm over all heads
    head_gained  ///< of q a factor for each head, of k no weight
  };
  Over over = Over::head;
  Norms::Formula formula = Norms::Formula::rms;
  bool weights = true;
  Presence biases = Presence::absent;
  bool after_rope = false;
  bool together = false;            ///< without q's tensor k's means nothing
  bool turned_layers_only = false;  ///< only where RoPE turns
  uint32_t none_with_experts = 0;   ///< a count of experts that goes without
};

/// 1 + slope·ln(1 + ⌊(position + offset)/every⌋) multiplies the queries.
struct Temperature {
  double slope = 0;    ///< default of attention.temperature_scale
  uint32_t every = 0;  ///< default of attention.temperature_length; 0: the original context
  uint32_t offset = 0;
  bool unturned_layers_only = false;  ///< only where RoPE does not turn
};

struct Attention {
  Presence qkv_biases = Presence::optional;
  bool qkv_scales = true;  ///< else .scale of q, k and v means nothing
  Presence out_bias = Presence::absent;
  HeadNorms norms = {};
  bool value_norm = false;  ///< an RMS norm without weight of each head of v
  enum class Scale {
    root_of_length,  ///< 1/√key_length
    length,          ///< 1/key_length
    key,             ///< scale_key, else 1/√key_length
    one
  };
  Scale scale = Scale::root_of_length;
  std::string_view scale_key = "attention.scale";
  double default_scale = 0;                 ///< of scale_key; 0: 1/√key_length
  uint32_t root_of_width_with = 0;          ///< so many layers: 1/√(width / heads)
  std::optional<double> soft_cap = {};      ///< default of attn_logit_softcapping, 0: off
  bool clamp = false;                       ///< attention.clamp_kqv of q, k and v, 0: off
  float alibi = 0;                          ///< the largest exponent of its slopes
  bool alibi_by_key = false;                ///< attention.max_alibi_bias, 0: off
  uint32_t alibi_with = 0;                  ///< only with so many layers; 0: any
  Presence sinks = Presence::absent;        ///< attn_sinks
  std::optional<op::Activation> gate = {};  ///< f(attn_gate·x) multiplies heads or elements
  bool result_scale = false;                ///< attention.value_scale, 0: off
  std::optional<Temperature> temperature = {};
  bool by_layer = false;  ///< counts of heads are lists, and a block may have no attention
  bool head_length_is_rope = false;  ///< key_length and value_length are rope.dimension_count
  bool lengths_by_window = false;    ///< attention.*_length_swa are those of windowed layers
  bool value_may_be_key = false;     ///< without attn_v the values are k before norm and RoPE
  bool shares_caches = false;  ///< attention.shared_kv_layers at the end have none of their own
  bool shares_last_two =
      false;  ///< … and read the last one's, with a window that of the one before
};

/// Layers that see no more than attention.sliding_window positions. Which they are says
/// attention.sliding_window_pattern: a list, or a number n. Layer l has a window where l mod n is
/// below n − 1 (or not 0, where `whole_first`); n = 0: every layer.
struct Windows {
  Presence size = Presence::absent;
  uint32_t default_size = 0;
  bool chunked = false;
  uint32_t period = 0;  ///< n where no key says it
  bool whole_first = false;
  bool list_required = false;
  uint32_t unlisted_with = 0;  ///< without such a list only with so many layers; 0: any
  uint32_t fixed_size = 0;     ///< in the place of any size but 0; 0: none
  bool lists_count = true;     ///< a list makes up for another count of layers
  bool llama_cpp_ignores = false;
  uint32_t llama_cpp_size = 0;  ///< its fixed_size
};

/// Which tensors hold factors that divide RoPE's frequencies.
enum class RopeFactors {
  rope_freqs,  ///< rope_freqs; with rope.scaling.type "longrope" as long_short
  wanted,      ///< … which llama.cpp does not run without
  long_short,  ///< rope_factors_long and rope_factors_short, chosen by the context limit
  unused
};

struct Rotation {
  enum class Pairs { none, adjacent, halves };
  Pairs pairs = Pairs::halves;  ///< lanes (2i, 2i+1), or (i, i + dimensions/2)
  enum class Layers {
    all,
    windowed,              ///< all, where no layer has a window
    windowed_or_dense,     ///< and those before the first with experts
    all_but_each_fourth,   ///< 3, 7, …
    all_but_first_of_four  ///< 0, 4, … where there are windows
  };
  Layers layers = Layers::all;
  bool listed = false;              ///< attention.rope_pattern may be a list: 1 turns
  uint32_t only_with = 0;           ///< so many layers; 0: any
  bool finetuned_switches = false;  ///< rope.scaling.finetuned false switches RoPE off
  RopeFactors factors = RopeFactors::rope_freqs;
  enum class Base { same, own, own_10000 };
  Base window_base = Base::same;  ///< rope.freq_base_swa; where absent the other base, or 10000
  enum class Scaling {
    same,
    unstretched,  ///< without the factor, but with rope.scaling.attn_factor
    none
  };
  Scaling window_scaling = Scaling::same;  ///< without it, factors are for the other layers
  bool window_dimensions = false;          ///< rope.dimension_count_swa
  enum class Sections {
    ignored,
    where_set,  ///< they also turn halves where they are
    required,
    interleaved  ///< required; for text the same as none
  };
  Sections sections = Sections::ignored;  ///< rope.dimension_sections
  bool sections_hold_rest = false;        ///< a pair in none of interleaved sections does not turn
  bool yarn_bounds = true;                ///< the keys of YaRN's ramp are read
  bool llama_cpp_reads_bounds = false;    ///< … by llama.cpp, too
  double beta_fast = 32;
  bool yarn_log_multiplier = false;
  bool yarn_whole_bounds = true;  ///< the ramp begins and ends at whole pairs
  bool base_grows = false;        ///< rope.scaling.alpha
};

struct FeedForward {
  enum class Shape {
    gated,
    fused,  ///< ffn_up holds the rows of the gate, then those of up
    plain
  };
  Shape shape = Shape::gated;
  op::Activation activation = op::Activation::silu;
  bool named_activation = true;  ///< hidden_activation may say which GELU
  bool xielu = false;            ///< in its place, with the numbers of xielu.*
  Presence biases = Presence::absent;
  enum class Scales { unused, all, down };
  Scales scales = Scales::unused;  ///< which ffn_*.scale count
  enum class Width { own, half, model };
  Width width = Width::own;  ///< of feed_forward_length, or embedding_length
  bool by_layer = false;     ///< feed_forward_length is a list, and a block may have none
};

struct Experts {
  enum class Where {
    nowhere,
    everywhere,
    counted,      ///< where expert_count is not 0, everywhere
    after_dense,  ///< from leading_dense_block_count on
    in_steps,     ///< as after_dense, each interleave_moe_layer_step-th
    by_tensor,    ///< where there is a router
    routed        ///< … which dense tensors must not stand beside
  };
  Where where = Where::nowhere;
  enum class Scores { softmax, sigmoid, of_chosen, key };
  Scores scores = Scores::softmax;
  uint32_t default_scores = 0;              ///< of expert_gating_func; 0: required
  Presence router_bias = Presence::absent;  ///< of ffn_gate_inp
  Presence choice_bias = Presence::absent;  ///< exp_probs_b
  enum class Renormalise {
    never,
    always,
    key,  ///< expert_weights_norm
    key_or_always
  };
  Renormalise renormalise = Renormalise::never;
  bool llama_cpp_keeps_weights = false;  ///< it does not read that key
  bool scale = false;                    ///< expert_weights_scale, 0: off
  enum class Width {
    ffn,  ///< feed_forward_length
    own,  ///< expert_feed_forward_length
    own_or_ffn,
    own_or_share  ///< else feed_forward_length / expert_used_count
  };
  Width width = Width::own;
  op::Activation activation = op::Activation::silu;
  Presence biases = Presence::absent;  ///< of ffn_*_exps
  bool scales = false;                 ///< ffn_*_exps.scale count
  bool clamp = false;                  ///< swiglu_clamp_exp limits gate and up
  bool weighs_input = false;           ///< the weights multiply what the experts read
  bool reads_block_input = false;      ///< the router reads x itself
  bool bare_router_norm = false;       ///< the router reads a norm of x without weight, times
                                       ///< ffn_gate_inp.scale/√width
  enum class Shared {
    none,
    counted,         ///< expert_shared_count of the experts' width
    counted_own,     ///< expert_shared_count of expert_shared_feed_forward_length or the experts'
    own_or_counted,  ///< expert_shared_feed_forward_length, else as counted; none where counted 0
    own,             ///< expert_shared_feed_forward_length, 0: none
    own_or_expert,   ///< … else the experts' width
    own_or_ffn       ///< … else feed_forward_length
  };
  Shared shared = Shared::none;
  uint32_t default_shared_count = 0;
  bool shared_gate = false;    ///< sigmoid(ffn_gate_inp_shexp·x) multiplies
  bool shared_fused = false;   ///< ffn_up_shexp holds the rows of the gate, then those of up
  bool shared_scales = false;  ///< ffn_*_shexp.scale count
  enum class Dense {
    none,
    reads_norm,   ///< the feed-forward part stands beside the experts, which read ffn_norm_exps
    where_there,  ///< … and reads what they read, where ffn_up is there
    with_norms    ///< … each between norms of its own
  };
  Dense dense = Dense::none;
  float sum_scale = 1;  ///< of the experts and what stands beside them
};

/// A block is x += attention(norm(x)), x += ffn(norm(x)).
struct Architecture {
  std::string_view name;  ///< general.architecture
  Norms norms = {};
  Embedding embedding = {};
  Head head = {};
  Attention attention = {};
  Windows windows = {};
  Rotation rope = {};
  FeedForward ffn = {};
  Experts experts = {};
  enum class Parallel {
    never,
    always,  ///< x += attention(n) + ffn(n); with a norm before_ffn ffn has its own
    key,     ///< use_parallel_residual
    without_ffn_norm
  };
  Parallel parallel = Parallel::never;
  bool residual_scale = false;         ///< residual_scale multiplies what is added, 0: off
  double residual_scale_of_depth = 0;  ///< where absent: this / √layers; 0: off
  enum class LayerScale { none, output, embedding };
  LayerScale layer_scale = LayerScale::none;  ///< layer_output_scale multiplies x, or adds embd
  bool loops = false;                         ///< num_loops passes over the same blocks
  bool drafts = false;  ///< a file may hold the blocks of nextn_predict_layers, which do not run
  std::span<const std::string_view> unused_tensors = {};  ///< at their end, '*' stands for anything
  std::span<const KeyRow> keys = {};                      ///< where it differs from common_keys()
  Conversion conversion = {};                             ///< from Hugging Face folders
};

}  // namespace assay::model
