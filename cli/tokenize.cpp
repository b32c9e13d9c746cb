#include "tokenize.h"

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "common.h"
#include "gguf/file.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace {

using assay::text::Token;
using assay::text::Tokenizer;

struct Options {
  std::string model, prompt, file;
  bool from_prompt = false;
  bool json = false, ids_only = false, no_parse_special = false, no_bos = false;
};

assay::Result<std::string> read_text(const Options& options) {
  if (options.from_prompt) return options.prompt;
  if (options.file.empty()) {
    return std::string(std::istreambuf_iterator<char>(std::cin), {});
  }
  std::ifstream stream(options.file, std::ios::binary);
  std::ostringstream text;
  if (stream.peek() != EOF) text << stream.rdbuf();  // an empty file is an empty text
  if (!stream.is_open() || stream.bad() || std::filesystem::is_directory(options.file)) {
    return assay::Error{fmt::format("can't read '{}'", options.file)};
  }
  return text.str();
}

/// One line whatever the piece holds: control characters and bytes that are not UTF-8 as \n, \t,
/// \xNN.
std::string escaped(std::string_view piece) {
  std::string line;
  while (!piece.empty()) {
    const auto character = assay::text::first_character(piece);
    const auto byte = static_cast<uint8_t>(piece[0]);
    if (byte == '\n') {
      line += "\\n";
    } else if (byte == '\t') {
      line += "\\t";
    } else if (byte == '\\' || byte == '\'') {
      line += {'\\', piece[0]};
    } else if (character.sequence == assay::text::Sequence::whole && byte >= 0x20 && byte != 0x7F) {
      line += piece.substr(0, character.length);
    } else {
      for (const char c : piece.substr(0, character.length)) {
        line += fmt::format("\\x{:02x}", static_cast<uint8_t>(c));
      }
    }
    piece.remove_prefix(character.length);
  }
  return line;
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
  std::cout << document.dump() << '\n';
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
  std::cout << output;
}

int tokenize(const Options& options) {
  const auto path = resolve_model(options.model);
  if (!path) return report(path.error());
  const auto file = assay::gguf::File::open(*path);
  if (!file) return report(file.error());
  const auto tokenizer = Tokenizer::open(*file);
  if (!tokenizer) return report(tokenizer.error());
  const auto text = read_text(options);
  if (!text) return report(text.error());

  const assay::text::EncodeOptions encode{.parse_special = !options.no_parse_special,
                                          .add_bos = !options.no_bos};
  const std::vector<Token> tokens = tokenizer->encode(*text, encode);
  const bool bos_added = encode.add_bos && tokenizer->adds_bos();
  uint64_t bytes = 0;
  for (uint64_t i = bos_added ? 1 : 0; i < tokens.size(); ++i) {
    bytes += tokenizer->piece(tokens[i]).size();
  }
  if (bytes < text->size()) {
    fmt::print(stderr, "assay: {} of {} bytes have no token in this vocabulary and were left out\n",
               text->size() - bytes, text->size());
  }
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
  command->add_option("model", options->model, "Path or short name; without it the default model");
  CLI::Option* prompt = command->add_option("-p,--prompt", options->prompt, "The text");
  command->add_option("-f,--file", options->file, "Read the text from a file (else from stdin)")
      ->excludes(prompt);
  CLI::Option* json = command->add_flag("--json", options->json, "One JSON object");
  command->add_flag("--ids", options->ids_only, "Only the ids, separated by commas")
      ->excludes(json);
  command->add_flag("--no-parse-special", options->no_parse_special,
                    "Take the spelling of a control token as ordinary text");
  command->add_flag("--no-bos", options->no_bos,
                    "No beginning-of-sequence token, even where the file asks for it");
  command->callback([options, prompt, &exit_code] {
    options->from_prompt = prompt->count() > 0;
    exit_code = tokenize(*options);
  });
}
