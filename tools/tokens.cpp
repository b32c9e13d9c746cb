// Encodes texts in bulk: one JSON object per line on stdin, one per line on stdout.
//
//     assay-tokens FILE.gguf
//     {"text": "…", "parse_special": true, "add_special": true}  →  {"tokens": […]}
//
// With `add_special` the file's BOS and EOS are added where it asks for them.
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "gguf/file.h"
#include "text/tokenizer.h"

namespace {

using Json = nlohmann::json;

Json answer(const assay::text::Tokenizer& tokenizer, const std::string& line) {
  const Json request = Json::parse(line, nullptr, false);
  if (!request.is_object() || !request.contains("text") || !request["text"].is_string())
    return {{"error", "a line must be a JSON object with a string 'text'"}};
  const bool add = request.value("add_special", false);
  return {{"tokens", tokenizer.encode(request["text"].get<std::string>(),
                                      {.parse_special = request.value("parse_special", false),
                                       .add_bos = add,
                                       .add_eos = add})}};
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::cerr << "usage: assay-tokens FILE.gguf\n";
    return 2;
  }
  const auto file = assay::gguf::File::open(arguments[1]);
  const auto tokenizer = file ? assay::text::Tokenizer::open(*file) : file.error();
  if (!tokenizer) {
    std::cerr << tokenizer.error().message << "\n";
    return 2;
  }
  std::ios::sync_with_stdio(false);
  std::string line;
  while (std::getline(std::cin, line)) {
    if (!line.empty()) std::cout << answer(*tokenizer, line).dump() << "\n" << std::flush;
  }
}
