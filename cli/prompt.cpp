#include "prompt.h"

#include <fmt/format.h>

#include <algorithm>

#include "common.h"
#include "text/notes.h"
#include "text/turn_end.h"

using assay::Error;
using assay::Result;

void add_prompt_flags(CLI::App& command, PromptFlags& flags) {
  command.add_option("--tokens", flags.tokens, "token ids, comma-separated");
  command.add_option("-p,--prompt", flags.text, "text");
  command.add_flag("--no-parse-special", flags.no_parse_special,
                   "treat the spelling of special tokens as plain text");
  command.add_flag("--no-bos", flags.no_bos, "no beginning-of-sequence token");
}

namespace {

void warn(const std::vector<std::string>& notes) {
  for (const std::string& note : notes)
    fmt::print(stderr, "assay: warning: {}\n", escaped(note, false));
}

}  // namespace

std::vector<int32_t> encode_text(const assay::text::Tokenizer& tokenizer, std::string_view text,
                                 const assay::text::EncodeOptions& options) {
  auto encoded = tokenizer.encode_counting(text, options);
  warn(assay::text::notes_on(tokenizer, text, encoded));
  return std::move(encoded.tokens);
}

void warn_of_messages(const assay::text::Tokenizer& tokenizer,
                      const nlohmann::ordered_json& messages) {
  for (const auto& message : messages) {
    if (!message.contains("content") || !message["content"].is_string()) continue;
    const auto& text = message["content"].get_ref<const std::string&>();
    assay::text::Detokenizer whole;
    std::string repaired = whole.add(text);
    repaired += whole.finish();
    const auto encoded = tokenizer.encode_counting(
        repaired, {.parse_special = false, .add_bos = false, .add_eos = false});
    warn(assay::text::notes_on(tokenizer, text, encoded, true));
  }
}

void note_turn_end(const assay::text::Tokenizer& tokenizer, const assay::text::ChatTemplate& chat,
                   const std::vector<std::string>& stops) {
  const std::string end = assay::text::unknown_turn_end(tokenizer, chat);
  const auto in_end = [&](const std::string& stop) {
    return !stop.empty() && end.find(stop) != end.npos;
  };
  if (end.empty() || std::ranges::any_of(stops, in_end)) return;
  fmt::print(stderr,
             "assay: the chat template ends each answer with '{0}', which this file does not list "
             "as an end of generation: answers may run on; --stop '{0}' ends them there\n",
             escaped(end));
}

assay::Status check_prompt(const PromptFlags& flags) {
  if (flags.text.has_value() == flags.tokens.has_value())
    return wrong_usage("give either --tokens or -p");
  return assay::ok();
}

Result<std::vector<int32_t>> read_prompt(const PromptFlags& flags, const assay::run::Model& model) {
  if (const auto good = check_prompt(flags); !good) return good.error();
  Result<std::vector<int32_t>> tokens = std::vector<int32_t>();
  if (flags.tokens) {
    tokens = parse_ids(*flags.tokens);
  } else {
    const auto& tokenizer = open_tokenizer(model);
    if (!tokenizer) return tokenizer.error();
    tokens = encode_text(
        *tokenizer, *flags.text,
        {.parse_special = !flags.no_parse_special, .add_bos = !flags.no_bos, .add_eos = false});
  }
  if (tokens && tokens->empty()) return Error{"no tokens to run"};
  return tokens;
}
