#include "convert/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "convert/pre_tokenizer.h"
#include "gguf/reader.h"
#include "text/sentence_pieces.h"
#include "text/vocabulary.h"

namespace assay::convert {
namespace {

using gguf::in_quotes;
using nlohmann::json;
using text::space_letter;
using text::TokenType;

constexpr uint64_t most_tokens = uint64_t{1} << 24;

/// A field, null where it is absent.
const json& at(const json& object, const char* name) {
  static const json null;
  if (!object.is_object()) return null;
  const auto found = object.find(name);
  return found == object.end() ? null : *found;
}

bool flag(const json& object, const char* name) {
  const json& value = at(object, name);
  return value.is_boolean() && value.get<bool>();
}

std::string type_of(const json& part) {
  const json& type = at(part, "type");
  return type.is_string() ? type.get<std::string>() : "";
}

/// The parts of a sequence, or the one that there is; none for null.
std::vector<json> parts_of(const json& whole, const char* list) {
  if (whole.is_null()) return {};
  if (type_of(whole) != "Sequence") return {whole};
  std::vector<json> parts;
  if (at(whole, list).is_array())
    for (const json& part : at(whole, list)) parts.push_back(part);
  return parts;
}

/// Where models mark tokens that no text may reach, but not as special.
bool looks_special(std::string_view text) {
  const auto within = [&](std::string_view begin, std::string_view end) {
    return text.size() > begin.size() + end.size() && text.starts_with(begin) &&
           text.ends_with(end);
  };
  return within("<|", "|>") || within("<\uFF5C", "\uFF5C>");
}

bool is_space_to_letter(const json& part) {
  return type_of(part) == "Replace" && at(at(part, "pattern"), "String") == " " &&
         at(part, "content") == std::string(space_letter);
}

struct Reader {
  const json& tokenizer;
  const json& configuration;
  const json& model;
  uint32_t size;
  std::vector<std::string>& notes;
  Vocabulary out{};
  uint64_t strips = 0;  ///< added tokens with a say about white space

  bool pieces() const { return out.model == "llama"; }

  Status read_model() {
    const std::string type = type_of(model);
    const bool pairs = type == "BPE" || (type.empty() && at(model, "merges").is_array());
    if (!pairs)
      return Error{fmt::format("its model is {}; assay converts BPE",
                               type.empty() ? "missing" : in_quotes(type))};
    for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (const json& affix = at(model, name); affix.is_string() && affix != "")
        return Error{fmt::format("its model has a {}, which a GGUF file cannot say", name)};
    if (is_byte_level(at(tokenizer, "pre_tokenizer"))) {
      out.model = "gpt2";
      return read_normalizer();
    }
    if (!flag(model, "byte_fallback"))
      return Error{
          "its BPE is neither byte-level nor has it byte_fallback; assay converts these "
          "two"};
    out.model = "llama";
    out.pre = "default";
    return read_spaces();
  }

  /// Of byte-level models.
  Status read_normalizer() {
    for (const json& part : parts_of(at(tokenizer, "normalizer"), "normalizers")) {
      if (type_of(part) != "NFC")
        return Error{fmt::format("its normalizer has the step {}, which a GGUF file cannot say",
                                 in_quotes(type_of(part)))};
      notes.push_back(
          "tokenizer.json brings text into Unicode's form NFC first, which a GGUF file "
          "cannot say: text in another form gets other tokens");
    }
    return ok();
  }

  /// Of sentence pieces: spaces become U+2581, and one may go before the text.
  Status read_spaces() {
    bool replaced = false;
    for (const json& part : parts_of(at(tokenizer, "normalizer"), "normalizers")) {
      if (type_of(part) == "Prepend" && at(part, "prepend") == std::string(space_letter))
        out.adds_space_prefix = true;
      else if (is_space_to_letter(part))
        replaced = true;
      else
        return Error{fmt::format("its normalizer has the step {}, which a GGUF file cannot say",
                                 in_quotes(type_of(part)))};
    }
    for (const json& part : parts_of(at(tokenizer, "pre_tokenizer"), "pretokenizers")) {
      const std::string type = type_of(part);
      // After the normalizer no space is left to split at.
      if (replaced && type == "Split" && at(at(part, "pattern"), "String") == " ") continue;
      if (type != "Metaspace" || at(part, "replacement") != std::string(space_letter) ||
          (at(part, "split").is_boolean() && flag(part, "split")))
        return Error{fmt::format("its pre_tokenizer has the step {}, which a GGUF file cannot say",
                                 in_quotes(type))};
      replaced = true;
      const json& scheme = at(part, "prepend_scheme");
      const bool never = scheme == "never" || at(part, "add_prefix_space") == false;
      out.adds_space_prefix |= !never;
      if (scheme == "first")
        notes.push_back(
            "tokenizer.json puts a space before the first word only; a GGUF file also "
            "puts one after each special token");
    }
    return replaced ? ok()
                    : Status(Error{"it has byte_fallback, but nothing makes spaces U+2581; assay "
                                   "converts only vocabularies of that kind"});
  }

  /// Puts a token in its place.
  Status place(const std::string& spelling, const json& id, TokenType type) {
    const uint64_t number = id.is_number_unsigned() ? id.get<uint64_t>() : most_tokens;
    if (number >= most_tokens)
      return Error{fmt::format("the token {} has the id {}", in_quotes(spelling), id.dump())};
    if (size && number >= size)
      return Error{
          fmt::format("the token {} has the id {}, but the model's vocabulary has {} tokens",
                      in_quotes(spelling), number, size)};
    if (number >= out.tokens.size()) {
      out.tokens.resize(number + 1);
      out.types.resize(number + 1, int32_t(TokenType::undefined));
    }
    out.tokens[number] = spelling;
    out.types[number] = int32_t(type);
    return ok();
  }

  Status read_tokens() {
    const json& vocabulary = at(model, "vocab");
    if (!vocabulary.is_object()) return Error{"its model has no 'vocab' of tokens and ids"};
    for (const auto& [token, id] : vocabulary.items()) {
      const bool byte = pieces() && text::byte_of_spelling(token) >= 0;
      if (Status placed = place(token, id, byte ? TokenType::byte : TokenType::normal); !placed)
        return placed.error();
      const auto number = id.get<int32_t>();
      out.ids.emplace(token, number);
    }
    if (out.ids.size() != uint64_t(std::ranges::count_if(out.types, [](int32_t type) {
          return type != int32_t(TokenType::undefined);
        })))
      return Error{"two tokens of its vocabulary have one id"};
    return ok();
  }

  /// An added token: special ones are control tokens, the others are found in any text.
  Status add(const json& token, const json& id) {
    const json& content = at(token, "content");
    if (!content.is_string()) return Error{"an added token has no text"};
    const auto spelling = content.get<std::string>();
    const bool special = flag(token, "special") || looks_special(spelling);
    const bool unknown = pieces() && content == at(model, "unk_token");
    std::string shown = spelling;
    if (!special && pieces())  // text is searched for it before spaces become letters
      for (size_t found; (found = shown.find(space_letter)) != shown.npos;)
        shown.replace(found, space_letter.size(), " ");
    if (Status placed = place(shown, id,
                              unknown   ? TokenType::unknown
                              : special ? TokenType::control
                                        : TokenType::user_defined);
        !placed)
      return placed.error();
    out.ids[spelling] = id.get<int32_t>();
    strips += flag(token, "lstrip") || flag(token, "rstrip") || flag(token, "single_word");
    return ok();
  }

  Status read_added() {
    const json& added = at(tokenizer, "added_tokens");
    if (added.is_array())
      for (const json& token : added)
        if (Status put = add(token, at(token, "id")); !put) return put.error();
    // transformers also adds those that only the configuration knows.
    const json& decoder = at(configuration, "added_tokens_decoder");
    const json more = decoder.is_object() ? decoder : json::object();
    for (const auto& [id, token] : more.items()) {
      const bool number = !id.empty() && id.size() < 9 &&
                          std::ranges::all_of(id, [](char c) { return c >= '0' && c <= '9'; });
      if (!number) return Error{fmt::format("an added token has the id {}", in_quotes(id))};
      const uint64_t place = std::stoull(id);
      const bool there =
          place < out.types.size() && out.types[place] != int32_t(TokenType::undefined);
      if (there) continue;
      if (Status put = add(token, json(place)); !put) return put.error();
    }
    if (strips)
      notes.push_back(
          fmt::format("{} added tokens of tokenizer.json swallow the white space beside "
                      "them or want whole words, which a GGUF file cannot say",
                      strips));
    const json& unknown = at(model, "unk_token");
    if (pieces() && unknown.is_string())
      if (const auto found = out.ids.find(unknown.get<std::string>()); found != out.ids.end())
        out.types[size_t(found->second)] = int32_t(TokenType::unknown);
    return ok();
  }

  /// "LEFT", "RIGHT".
  static std::optional<std::pair<std::string, std::string>> halves(const json& merge) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string())
      return std::pair(merge[0].get<std::string>(), merge[1].get<std::string>());
    const std::string text = merge.is_string() ? merge.get<std::string>() : "";
    const size_t space = text.find(' ');
    if (space == 0 || space == text.npos || space + 1 == text.size()) return {};
    return std::pair(text.substr(0, space), text.substr(space + 1));
  }

  /// Byte pairs keep the merges; sentence pieces get scores that order joins as the merges do.
  Status read_merges() {
    const json& merges = at(model, "merges");
    if (!merges.is_array()) return Error{"its model has no list 'merges'"};
    if (pieces()) out.scores.assign(out.tokens.size(), 0.0f);
    std::vector<bool> made(out.tokens.size());
    for (uint64_t rank = 0; rank < merges.size(); ++rank) {
      const auto pair = halves(merges[rank]);
      const auto found = pair ? out.ids.find(pair->first + pair->second) : out.ids.end();
      if (!pair || (!pieces() && (pair->first + pair->second).find(' ') != std::string::npos))
        return Error{fmt::format("merge {} is {}, not two texts without a space", rank,
                                 gguf::printable(merges[rank].dump()))};
      if (found == out.ids.end())
        return Error{fmt::format("merge {} makes {}, which is no token", rank,
                                 in_quotes(pair->first + pair->second))};
      if (!pieces()) {
        out.merges.push_back(pair->first + " " + pair->second);
      } else if (const auto id = size_t(found->second); !made[id]) {
        made[id] = true;
        out.scores[id] = -float(rank);  // ranks below 2^24 are exact
      }
    }
    if (!pieces()) return ok();
    if (merges.size() >= most_tokens) return Error{"its merges are too many"};
    uint64_t unreached = 0;
    for (size_t id = 0; id < out.tokens.size(); ++id) {
      const bool one_letter = std::ranges::count_if(out.tokens[id], [](char c) {
                                return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
                              }) <= 1;
      if (out.types[id] != int32_t(TokenType::normal) || made[id] || one_letter) continue;
      out.scores[id] = -float(most_tokens);
      ++unreached;
    }
    if (unreached)
      notes.push_back(
          fmt::format("no merge makes {} of the tokens; in a GGUF file a text may still "
                      "reach them, after all others",
                      unreached));
    return ok();
  }

  /// Ids without a token.
  void fill() {
    out.tokens.resize(std::max<size_t>(out.tokens.size(), size));
    out.types.resize(out.tokens.size(), int32_t(TokenType::undefined));
    if (pieces()) out.scores.resize(out.tokens.size(), 0.0f);
    for (size_t id = 0; id < out.tokens.size(); ++id) {
      if (out.types[id] != int32_t(TokenType::undefined)) continue;
      out.tokens[id] = fmt::format("[PAD{}]", id);
      out.types[id] = int32_t(TokenType::unused);
      if (pieces()) out.scores[id] = -float(most_tokens);
    }
  }

  Status read_pre_tokenizer() {
    if (pieces()) return ok();
    // Without merges each byte stays alone, wherever the text is cut.
    const bool whole = flag(model, "ignore_merges");
    if (out.merges.empty() && !whole) {
      out.pre = "gpt-2";
      return ok();
    }
    auto name = pre_tokenizer_name(at(tokenizer, "pre_tokenizer"), whole);
    if (!name) return name.error();
    out.pre = std::move(*name);
    return ok();
  }
};

}  // namespace

Result<Vocabulary> read_vocabulary(const json& tokenizer, const json& configuration, uint32_t size,
                                   std::vector<std::string>& notes) {
  Reader read{tokenizer, configuration, at(tokenizer, "model"), size, notes};
  if (Status model = read.read_model(); !model) return model.error();
  if (Status tokens = read.read_tokens(); !tokens) return tokens.error();
  if (Status added = read.read_added(); !added) return added.error();
  if (Status merges = read.read_merges(); !merges) return merges.error();
  read.fill();
  if (Status cut = read.read_pre_tokenizer(); !cut) return cut.error();
  return std::move(read.out);
}

}  // namespace assay::convert
