#include "prompt.h"

#include "common.h"

using assay::Error;
using assay::Result;

void add_prompt_flags(CLI::App& command, PromptFlags& flags) {
  command.add_option("--tokens", flags.tokens, "token ids, comma-separated");
  command.add_option("-p,--prompt", flags.text, "text");
  command.add_flag("--no-parse-special", flags.no_parse_special,
                   "treat the spelling of special tokens as plain text");
  command.add_flag("--no-bos", flags.no_bos, "no beginning-of-sequence token");
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
    tokens = tokenizer->encode(
        *flags.text,
        {.parse_special = !flags.no_parse_special, .add_bos = !flags.no_bos, .add_eos = false});
  }
  if (tokens && tokens->empty()) return Error{"no tokens to run"};
  return tokens;
}
