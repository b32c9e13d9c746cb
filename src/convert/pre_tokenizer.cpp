#include "convert/pre_tokenizer.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <vector>

#include "gguf/reader.h"
#include "text/pre_tokenizer.h"

namespace assay::convert {
namespace {

using nlohmann::json;

/// The steps of a tokenizer.json, each ended by a line end, and the names of rules that cut so: for
/// models that look merges up always, and for those that take a whole word first (ignore_merges).
/// An empty name: no rules of ours do that.
struct Known {
  std::string_view steps, merging, whole;
};

// The expressions are the models' own, their line ends spelled \r and \n. A step is an expression,
// or the name of a step of the tokenizers library: "digits" (each alone), "gpt2" (ByteLevel with
// its own expression).
constexpr std::array table = {
    Known{"gpt2\n", "gpt-2", ""},
    Known{R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"
          "\n",
          "gpt-2", ""},
    Known{"digits\ngpt2\n", "smollm", ""},
    // llama 3, and OLMo 2 and 3, which look merges up always
    Known{R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
          R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
          "\n",
          "dbrx", "llama-bpe"},
    Known{R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
          R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
          "\n",
          "qwen2", ""},
    Known{R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N})"
          R"(| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
          "\n",
          "qwen35", ""},
    Known{R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
          "\n",
          "ufakzeka", ""},
    Known{R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1})"
          R"(| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)"
          "\n",
          "seed-coder", ""},
    Known{R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*)"
          R"(|\s*[\r\n]|\s+(?!\S)|\s+)"
          "\n",
          "bailingmoe", ""},
    Known{R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+)"
          R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)"
          "\n",
          "exaone-moe", ""},
    Known{"\\p{N}{1,3}\n"
          R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+)"
          R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
          "\n",
          "", "minicpm5"},
    Known{R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
          R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S))"
          R"(|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})"
          "\n",
          "jais-2", ""},
    // Mistral's tekken
    Known{R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
          R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N})"
          R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
          "\n",
          "", "tekken"},
    // gpt-4o, gpt-oss, Llama 4, MiniMax M2
    Known{R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
          R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
          R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
          R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
          R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
          "\n",
          "gpt-4o", ""},
    Known{R"(\p{N}{1,3})"
          "\n[一-龥\u3040-ゟ゠-ヿ]+\n"
          R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
          R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
          "\n",
          "deepseek-v3", ""},
    Known{R"([\r\n])"
          "\n"
          R"(\s?\p{L}+)"
          "\n"
          R"(\s?\p{P}+)"
          "\n[一-龥ࠀ-一가-퟿]+\ndigits\n",
          "deepseek-coder", ""},
};

/// Line ends spelled \r and \n.
std::string on_one_line(const std::string& text) {
  std::string line;
  for (const char c : text) {
    if (c == '\r' || c == '\n')
      line += c == '\r' ? "\\r" : "\\n";
    else
      line += c;
  }
  return line;
}

/// The steps of a pre-tokenizer as the table has them; a step that it cannot have by its type.
std::string steps_of(const json& step) {
  if (!step.is_object()) return "";
  const json named = step.value("type", json());
  const std::string type = named.is_string() ? named.get<std::string>() : "?";
  const auto flag = [&](const char* name, bool otherwise) {
    const auto found = step.find(name);
    return found != step.end() && found->is_boolean() ? found->get<bool>() : otherwise;
  };
  if (type == "Sequence") {
    std::string steps;
    const auto list = step.find("pretokenizers");
    if (list != step.end() && list->is_array())
      for (const json& each : *list) steps += steps_of(each);
    return steps;
  }
  if (type == "ByteLevel") {
    if (flag("add_prefix_space", true)) return "ByteLevel with add_prefix_space\n";
    return flag("use_regex", true) ? "gpt2\n" : "";
  }
  if (type == "Digits" && flag("individual_digits", false)) return "digits\n";
  if (type != "Split") return type + "\n";
  const json pattern = step.value("pattern", json());
  const json expression = pattern.is_object() ? pattern.value("Regex", json()) : json();
  const json behaviour = step.value("behavior", json());
  // "Removed" what does not match: the same where the expression matches everything, as all do.
  const bool cuts = behaviour == "Isolated" || (behaviour == "Removed" && flag("invert", false));
  if (!expression.is_string() || !cuts) return "Split " + step.dump() + "\n";
  return on_one_line(expression.get<std::string>()) + "\n";
}

}  // namespace

bool is_byte_level(const json& step) {
  if (!step.is_object()) return false;
  if (step.value("type", json()) == "ByteLevel") return true;
  const auto list = step.find("pretokenizers");
  if (list == step.end() || !list->is_array()) return false;
  for (const json& each : *list)
    if (is_byte_level(each)) return true;
  return false;
}

Result<std::string> pre_tokenizer_name(const json& pre_tokenizer, bool whole_words) {
  const std::string steps = steps_of(pre_tokenizer);
  for (const Known& known : table) {
    if (known.steps != steps) continue;
    const std::string_view name = whole_words ? known.whole : known.merging;
    if (!name.empty() && text::find_rules(name)) return std::string(name);
  }
  std::string shown = steps.empty() ? "no steps" : steps.substr(0, steps.size() - 1);
  for (size_t at = 0; (at = shown.find('\n', at)) != shown.npos;) shown.replace(at, 1, "  then  ");
  return Error{fmt::format("no pre-tokenizer of assay's cuts as tokenizer.json's does{}: {}",
                           whole_words ? " with ignore_merges" : "", shown)};
}

}  // namespace assay::convert
