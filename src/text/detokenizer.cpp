#include "text/tokenizer.h"
#include "text/utf8.h"

namespace assay::text {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD

}  // namespace

std::string Detokenizer::add(std::string_view piece) {
  held_ += piece;
  std::string certain;
  std::string_view rest = held_;
  while (!rest.empty()) {
    const Character character = first_character(rest);
    if (character.sequence == Sequence::unfinished) break;
    const bool whole = character.sequence == Sequence::whole;
    certain += whole ? rest.substr(0, character.length) : replacement;
    rest.remove_prefix(character.length);
  }
  held_.erase(0, held_.size() - rest.size());
  return certain;
}

std::string Detokenizer::finish() {
  // What is held is one unfinished character (`add` gives out everything else): one U+FFFD, as
  // Unicode recommends for a maximal subpart.
  const bool unfinished = !held_.empty();
  held_.clear();
  return std::string(unfinished ? replacement : std::string_view());
}

}  // namespace assay::text
