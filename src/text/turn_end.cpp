#include "text/turn_end.h"

#include <algorithm>
#include <string_view>

namespace assay::text {
namespace {

/// "<|im_end|>" of "<|im_end|>\n…", "[INST]" of "[INST] …"; empty where the text begins otherwise.
std::string_view bracketed(std::string_view text) {
  if (text.empty() || (text[0] != '<' && text[0] != '[')) return {};
  const size_t end = text.find_first_of(text[0] == '<' ? "> \t\n" : "] \t\n");
  if (end == text.npos || end > 64 || text[end] <= ' ' || end < 2) return {};
  return text.substr(0, end + 1);
}

}  // namespace

std::string unknown_turn_end(const Tokenizer& tokenizer, const ChatTemplate& chat) {
  constexpr std::string_view answer = "answer-7f3a";
  const nlohmann::ordered_json messages = {{{"role", "user"}, {"content", "question"}},
                                           {{"role", "assistant"}, {"content", answer}},
                                           {{"role", "user"}, {"content", "question"}}};
  const auto rendered = chat.render(messages);
  if (!rendered) return {};
  std::string_view rest = rendered->text;
  const size_t at = rest.rfind(answer);
  if (at == rest.npos) return {};
  rest.remove_prefix(at + answer.size());
  rest.remove_prefix(std::min(rest.find_first_not_of(" \t\r\n"), rest.size()));
  const auto tokens = tokenizer.encode(rest, {.add_bos = false, .add_eos = false});
  if (tokens.empty() || tokenizer.ends_generation(tokens[0]) || tokenizer.is_frame(tokens[0]))
    return {};
  const std::string_view piece = tokenizer.piece(tokens[0]);
  return std::string(tokenizer.is_control(tokens[0]) ? piece : bracketed(rest));
}

}  // namespace assay::text
