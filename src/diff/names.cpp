#include "diff/names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <numeric>
#include <set>
#include <string_view>

#include "op/kinds.h"

namespace assay::diff {

namespace {

/// What people call an output after the tensor or the module that makes it, and its name here.
struct Alias {
  std::string_view word, name;
};
constexpr std::array aliases = {
    // GGUF's tensors and llama.cpp's graphs
    Alias{"token_embd", "embd"}, Alias{"attn_q", "q"}, Alias{"attn_k", "k"}, Alias{"attn_v", "v"},
    Alias{"attn_output", "attn_out"}, Alias{"ffn_gate", "gate"}, Alias{"ffn_up", "up"},
    Alias{"ffn_down", "down"}, Alias{"ffn_out", "down"}, Alias{"ffn_inp", "attn_residual"},
    Alias{"l_out", "out"}, Alias{"output_norm", "out_norm"}, Alias{"output", "logits"},
    Alias{"ffn_gate_inp", "router"}, Alias{"ffn_gate_exps", "experts_gate"},
    Alias{"ffn_up_exps", "experts_up"}, Alias{"ffn_down_exps", "experts_down"},
    Alias{"ffn_gate_shexp", "shared_gate"}, Alias{"ffn_up_shexp", "shared_up"},
    Alias{"ffn_down_shexp", "shared_down"}, Alias{"ffn_gate_inp_shexp", "shared_router"},
    Alias{"post_attention_norm", "attn_post_norm"}, Alias{"post_ffw_norm", "ffn_post_norm"},
    // modules of PyTorch models
    Alias{"embed_tokens", "embd"}, Alias{"tok_embeddings", "embd"}, Alias{"wte", "embd"},
    Alias{"input_layernorm", "attn_norm"}, Alias{"attention_norm", "attn_norm"},
    Alias{"q_proj", "q"}, Alias{"wq", "q"}, Alias{"k_proj", "k"}, Alias{"wk", "k"},
    Alias{"v_proj", "v"}, Alias{"wv", "v"}, Alias{"o_proj", "attn_out"}, Alias{"wo", "attn_out"},
    Alias{"self_attn", "attn_out"}, Alias{"post_attention_layernorm", "ffn_norm"},
    Alias{"gate_proj", "gate"}, Alias{"up_proj", "up"}, Alias{"act_fn", "act"},
    Alias{"down_proj", "down"}, Alias{"mlp", "down"}, Alias{"norm", "out_norm"},
    Alias{"lm_head", "logits"}};
constexpr size_t longest = 256;       // of a name that another one is looked for
constexpr size_t most_suggested = 8;  // of a file that may hold a million names

/// Insertions, deletions and replacements that turn one text into the other.
uint64_t distance(std::string_view a, std::string_view b) {
  std::vector<uint64_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0u);
  for (size_t i = 0; i < a.size(); ++i) {
    uint64_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const uint64_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

std::vector<std::string_view> parts_of(std::string_view name) {
  std::vector<std::string_view> out;
  while (!name.empty()) {
    const size_t end = std::min(name.find_first_of("./"), name.size());
    if (end > 0) out.push_back(name.substr(0, end));
    name.remove_prefix(std::min(end + 1, name.size()));
  }
  return out;
}

bool is_number(std::string_view text) {
  return !text.empty() && text.size() <= 6 &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  return out;
}

}  // namespace

std::set<std::string> known_names(const op::Program& program) {
  std::set<std::string> out;
  for (const op::Operation& operation : program.operations) {
    out.insert(operation.name);
    if (operation.is<op::KvStore>()) {
      out.insert(operation.name + "_k");
      out.insert(operation.name + "_v");
    }
    if (operation.is<op::Attend>() && operation.name.ends_with("kqv")) {
      const std::string block = operation.name.substr(0, operation.name.size() - 3);
      out.insert(block + "kq");
      out.insert(block + "kq_soft");
    }
    if (operation.name.ends_with("_unscaled"))
      out.insert(operation.name.substr(0, operation.name.size() - 9));
  }
  return out;
}

std::string nearest_name(const std::set<std::string>& known, std::string_view name) {
  const std::vector<std::string_view> parts = parts_of(name);
  if (parts.empty() || name.size() > longest) return "";
  const auto layer = std::ranges::find_if(parts, is_number);
  std::string_view last = parts.back();
  if ((last == "weight" || last == "output") && parts.size() > 2) last = parts[parts.size() - 2];
  const std::string block = layer == parts.end() ? "" : fmt::format("blk.{}.", *layer);
  const auto alias = std::ranges::find(aliases, last, &Alias::word);
  const std::string_view meant = is_number(last)          ? "out"
                                 : alias == aliases.end() ? std::string_view()
                                                          : alias->name;
  if (!meant.empty())
    for (const std::string& candidate : {block + std::string(meant), std::string(meant)})
      if (known.contains(candidate)) return candidate;
  const std::string text = lower(last);
  std::string best;
  uint64_t least = UINT64_MAX;
  for (const std::string& candidate : known) {
    const bool inside = candidate.starts_with("blk.");
    if (inside != !block.empty() || !candidate.starts_with(block)) continue;
    const std::string_view inner = std::string_view(candidate).substr(block.size());
    const uint64_t far = distance(text, inner);
    if (far > std::max<uint64_t>(1, std::max(text.size(), inner.size()) / 3) || far >= least)
      continue;
    least = far;
    best = candidate;
  }
  return best;
}

std::vector<UnknownName> unknown_names(const op::Program& program, const trace::Trace& trace) {
  const std::set<std::string> known = known_names(program);
  std::vector<UnknownName> out;
  const auto add = [&](const std::string& key) {
    const bool numbered = key.size() > 7 && key[6] == '.' && is_number(key.substr(0, 6));
    const std::string name = numbered ? key.substr(7) : key;
    const std::string near = known.contains(name)          ? name
                             : out.size() < most_suggested ? nearest_name(known, name)
                                                           : "";
    out.push_back({key, near.empty() ? "" : (numbered ? key.substr(0, 7) : "000000.") + near});
  };
  for (const std::string& key : trace.unknown()) add(key);
  for (const trace::TraceTensor& tensor : trace.tensors())
    if (!known.contains(tensor.name)) add(tensor.key);
  return out;
}

std::string sentence_of(const std::vector<UnknownName>& unknown) {
  if (unknown.empty()) return "";
  constexpr size_t most = 3;
  std::string text =
      unknown.size() == 1
          ? std::string("1 tensor has a name that is not known, so it was not judged: ")
          : fmt::format("{} tensors have names that are not known, so they were not judged: ",
                        unknown.size());
  for (size_t i = 0; i < std::min(most, unknown.size()); ++i)
    text += fmt::format(
        "{}'{}'{}", i == 0 ? "" : ", ", unknown[i].key,
        unknown[i].nearest.empty() ? "" : fmt::format(" (did you mean '{}'?)", unknown[i].nearest));
  return text + (unknown.size() > most ? ", …" : "");
}

}  // namespace assay::diff
