#include "text/known_tokens.h"

#include <algorithm>
#include <iterator>

namespace assay::text {
namespace {

constexpr std::string_view ends[] = {"<|eot_id|>",
                                     "<|im_end|>",
                                     "<|end|>",
                                     "<|return|>",
                                     "<|call|>",
                                     "<|flush|>",
                                     "<|calls|>",
                                     "<end_of_turn>",
                                     "<|endoftext|>",
                                     "<|eom_id|>",
                                     "<|end_of_text|>",
                                     "<end_of_utterance>",
                                     "<turn|>",
                                     "<|tool_response>",
                                     "<|fim_pad|>",
                                     "<|fim_repo|>",
                                     "<|repo_name|>",
                                     "<|file_sep|>",
                                     "<fim-pad>",
                                     "<fim_pad>",
                                     "<fim-repo>",
                                     "<reponame>",
                                     "[e~[",
                                     "<\uFF5Cend\u2581of\u2581sentence\uFF5C>"};

// Of these llama.cpp takes any token; but qwen2 has an ordinary token "</s>" that HTML text
// reaches, so they count only where the file types them as special.
constexpr std::string_view ends_where_special[] = {"</s>",  "<eos>", "<EOT>", "_<EOT>", "[EOT]",
                                                   "[EOS]", "<PAD>", "[PAD]", "<REPO>"};

// Fill-in-the-middle: the answer goes on after these.
constexpr std::string_view others[] = {"<|fim_prefix|>",
                                       "<fim-prefix>",
                                       "<fim_prefix>",
                                       "<|code_prefix|>",
                                       "<|prefix|>",
                                       "<|fim_suffix|>",
                                       "<fim-suffix>",
                                       "<fim_suffix>",
                                       "<|code_suffix|>",
                                       "<|suffix|>",
                                       "<|fim_middle|>",
                                       "<fim-middle>",
                                       "<fim_middle>",
                                       "<|code_middle|>",
                                       "<|middle|>",
                                       "<\uFF5Cfim\u2581begin\uFF5C>",
                                       "<\uFF5Cfim\u2581hole\uFF5C>",
                                       "<\uFF5Cfim\u2581end\uFF5C>"};

template <size_t N>
bool among(const std::string_view (&list)[N], std::string_view spelling) {
  return std::find(std::begin(list), std::end(list), spelling) != std::end(list);
}

}  // namespace

std::optional<KnownToken> known_token(std::string_view spelling) {
  if (spelling.empty() || (spelling[0] != '<' && spelling[0] != '_' && spelling[0] != '['))
    return {};
  if (among(ends, spelling)) return KnownToken{true, false};
  if (among(ends_where_special, spelling)) return KnownToken{true, true};
  if (among(others, spelling)) return KnownToken{false, false};
  return {};
}

}  // namespace assay::text
