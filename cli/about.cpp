#include "about.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <string>
#include <string_view>

#include "common.h"
#include "diff/diff.h"
#include "text/utf8.h"

namespace {

std::string command_line;

/// A word as a shell takes it.
std::string for_shell(std::string_view word) {
  const bool plain = !word.empty() && std::ranges::all_of(word, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("-_./=,:+@%").find(c) != std::string_view::npos;
  });
  if (plain) return std::string(word);
  std::string out = "'";
  for (const char c : word) {
    if (c == '\'')
      out += "'\\''";
    else
      out += c;
  }
  return out + "'";
}

/// Bytes that are no UTF-8 as \xNN: a page is UTF-8.
std::string as_utf8(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    const auto character = assay::text::first_character(bytes);
    const std::string_view part = bytes.substr(0, character.length);
    if (character.sequence == assay::text::Sequence::whole)
      out += part;
    else
      for (const char c : part) out += fmt::format("\\x{:02x}", uint8_t(c));
    bytes.remove_prefix(character.length);
  }
  return out;
}

}  // namespace

void remember_command(int argc, const char* const* argv) {
  command_line.clear();
  for (int i = 0; i < argc; ++i) command_line += (i == 0 ? "" : " ") + for_shell(argv[i]);
}

assay::report::About about(const std::vector<const assay::trace::Trace*>& traces,
                           const Weights* weights) {
  assay::report::About out;
  out.command = as_utf8(command_line);
  const std::time_t now = std::time(nullptr);
  char date[32] = "";
  std::tm parts{};
  if (gmtime_r(&now, &parts)) std::strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", &parts);
  out.date = fmt::format("{}, by assay {}", date, ASSAY_VERSION);
  if (weights)
    out.model = as_utf8(weights->folder ? weights->path
                                        : fmt::format("{}, SHA-256 {:.12}…", weights->path,
                                                      file_sha256(weights->file)));
  for (const auto* trace : traces) out.traces.push_back(as_utf8(trace->path()));
  if (traces.empty()) return out;
  const auto tokenizer =
      weights ? assay::text::Tokenizer::open(weights->file)
              : assay::Result<assay::text::Tokenizer>(assay::Error{"there is no model"});
  if (!tokenizer) out.without_text = as_utf8(tokenizer.error().message);
  for (const int32_t id : assay::diff::all_tokens(*traces[0]))
    out.tokens.emplace_back(id, tokenizer ? as_utf8(tokenizer->piece(id)) : std::string());
  return out;
}
