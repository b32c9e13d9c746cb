#include "tokenize.h"

#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "common.h"
#include "gguf/file.h"
#include "prompt.h"
#include "text/tokenizer.h"

namespace {

using assay::text::Token;
using assay::text::Tokenizer;

struct Options {
  std::string model, prompt, file;
  bool from_prompt = false;
  bool json = false, ids_only = false, no_parse_special = false, no_bos = false;
};

assay::Result<std::string> text_of(const Options& options) {
  if (options.from_prompt) return options.prompt;
  return read_text(options.file.empty() ? "-" : options.file);
}

std::string with_replacements(std::string_view piece) {
  assay::text::Detokenizer detokenizer;
  std::string text = detokenizer.add(piece);
  return text + detokenizer.finish();
}

void print_json(const std::string& path, const Tokenizer& tokenizer, bool add_bos,
                bool parse_special, const std::vector<Token>& tokens) {
  nlohmann::ordered_json pieces = nlohmann::ordered_json::array();
  for (const Token token : tokens) pieces.push_back(with_replacements(tokenizer.piece(token)));
  const nlohmann::ordered_json document = {{"model", path},
                                           {"add_bos", add_bos},
                                           {"parse_special", parse_special},
                                           {"pieces", pieces},
                                           {"tokens", tokens}};
  fmt::print("{}\n", document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void print_text(const Options& options, const Tokenizer& tokenizer,
                const std::vector<Token>& tokens) {
  std::string output;
  for (uint64_t i = 0; i < tokens.size(); ++i) {
    if (options.ids_only) {
      output += fmt::format("{}{}", i == 0 ? "" : ",", tokens[i]);
    } else {
      output += fmt::format("{} '{}'\n", tokens[i], escaped(tokenizer.piece(tokens[i])));
    }
  }
  if (options.ids_only) output += '\n';
  fmt::print("{}", output);
}

int tokenize(const Options& options) {
  const auto path = resolve_model(options.model);
  if (!path) return report(path.error());
  const auto file = assay::gguf::File::open(*path);
  if (!file) return report(file.error());
  const auto tokenizer = open_tokenizer(*file);
  if (!tokenizer) return report(tokenizer.error());
  const auto text = text_of(options);
  if (!text) return report(text.error());

  const assay::text::EncodeOptions encode{.parse_special = !options.no_parse_special,
                                          .add_bos = !options.no_bos,
                                          .add_eos = !options.no_bos};
  Progress bar("tokenize");
  const std::vector<Token> tokens = encode_text(*tokenizer, *text, encode);
  bar.erase();
  const bool bos_added = encode.add_bos && tokenizer->adds_bos();
  if (options.json) {
    print_json(*path, *tokenizer, bos_added, encode.parse_special, tokens);
  } else {
    print_text(options, *tokenizer, tokens);
  }
  return static_cast<int>(assay::Exit::done);
}

}  // namespace

void add_tokenize(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("tokenize", "Show the tokens of a text");
  command
      ->add_option("model,-m,--model", options->model,
                   "GGUF file, or the name of a known model (default: SmolLM2-135M-Instruct)")
      ->type_name("MODEL");
  CLI::Option* prompt = command->add_option("-p,--prompt", options->prompt, "The text");
  command
      ->add_option("-f,--file", options->file,
                   "Read the text from a file (default: standard input)")
      ->excludes(prompt);
  CLI::Option* json = command->add_flag("--json", options->json, "One JSON object");
  command->add_flag("--ids", options->ids_only, "Only the ids, separated by commas")
      ->excludes(json);
  command->add_flag("--no-parse-special", options->no_parse_special,
                    "Treat the spelling of a control token as plain text");
  command->add_flag("--no-bos", options->no_bos,
                    "No beginning- or end-of-sequence token, even where the file asks for it");
  command->callback([options, prompt, &exit_code] {
    options->from_prompt = prompt->count() > 0;
    exit_code = tokenize(*options);
  });
}
