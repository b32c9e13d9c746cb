#include "convert/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "convert/vocabulary.h"
#include "gguf/reader.h"

namespace assay::convert {
namespace {

using gguf::in_quotes;
using nlohmann::json;

/// A field, null where it is absent.
const json& at(const json& object, const char* name) {
  static const json null;
  if (!object.is_object()) return null;
  const auto found = object.find(name);
  return found == object.end() ? null : *found;
}

/// "<s>" of "<s>" or {"content": "<s>"}.
std::optional<std::string> text_of(const json& token) {
  const json& text = token.is_object() ? at(token, "content") : token;
  return text.is_string() ? std::optional(text.get<std::string>()) : std::nullopt;
}

/// The files that say what is special.
struct Sources {
  json tokenizer, configuration, map, generation, model;
};

/// Which tokens are special, and which are added to a text.
struct Special {
  std::optional<int32_t> bos, eos, unknown, padding;
  std::vector<int32_t> ends;  ///< others than eos that end generation
  bool adds_bos = false, adds_eos = false;
};

struct Finder {
  const Sources& sources;
  const Vocabulary& vocabulary;
  std::vector<std::string>& notes;

  std::optional<int32_t> id_of(std::string_view text) const {
    const auto found = vocabulary.ids.find(text);
    return found == vocabulary.ids.end() ? std::nullopt : std::optional(found->second);
  }

  /// All ids that are given as numbers under NAME_token_id.
  std::vector<int32_t> numbers(const std::string& name) const {
    std::vector<int32_t> ids;
    for (const json* source : {&sources.generation, &sources.model}) {
      const json& value = at(*source, (name + "_token_id").c_str());
      for (const json& id : value.is_array() ? value : json::array({value})) {
        const bool known = id.is_number_unsigned() && id.get<uint64_t>() < vocabulary.tokens.size();
        if (known && std::ranges::find(ids, id.get<int32_t>()) == ids.end()) ids.push_back(id);
      }
    }
    return ids;
  }

  /// NAME_token of the tokenizer's files, else the first of the numbers.
  std::optional<int32_t> find(const std::string& name) const {
    for (const json* source : {&sources.configuration, &sources.map}) {
      const auto text = text_of(at(*source, (name + "_token").c_str()));
      if (!text) continue;
      if (const auto id = id_of(*text)) return id;
      notes.push_back(
          fmt::format("the {}_token {} is no token of the vocabulary", name, in_quotes(*text)));
    }
    const auto ids = numbers(name);
    return ids.empty() ? std::nullopt : std::optional(ids[0]);
  }

  /// What a template puts before and after a text.
  Status read_template(const json& single, Special& special) const {
    std::vector<std::string> before, after;
    bool text_seen = false;
    for (const json& part : single.is_array() ? single : json::array()) {
      if (part.contains("Sequence")) text_seen = true;
      const json& id = at(at(part, "SpecialToken"), "id");
      if (id.is_string()) (text_seen ? after : before).push_back(id);
    }
    const auto adds = [&](const std::vector<std::string>& added, std::optional<int32_t>& token,
                          const char* where) {
      if (added.empty()) return false;
      const auto id = added.size() == 1 ? id_of(added[0]) : std::nullopt;
      if (id && !token) token = id;
      if (id && token == id) return true;
      notes.push_back(
          fmt::format("tokenizer.json puts {} {} a text, which a GGUF file cannot say: "
                      "nothing is put there",
                      fmt::join(added, " "), where));
      return false;
    };
    special.adds_bos = adds(before, special.bos, "before");
    special.adds_eos = adds(after, special.eos, "after");
    return ok();
  }

  Status read_post_processor(Special& special) const {
    const json& whole = at(sources.tokenizer, "post_processor");
    const json& list = at(whole, "processors");
    bool templated = false;
    for (const json& part : list.is_array() ? list : json::array({whole})) {
      const json& type = at(part, "type");
      if (type == "TemplateProcessing") {
        templated = true;
        if (Status read = read_template(at(part, "single"), special); !read) return read.error();
      } else if (!part.is_null() && type != "ByteLevel") {
        return Error{fmt::format("its post_processor has the step {}, which a GGUF file cannot say",
                                 type.is_string() ? in_quotes(type.get<std::string>()) : "?")};
      }
    }
    if (templated) return ok();
    special.adds_bos = special.bos && at(sources.configuration, "add_bos_token") == true;
    special.adds_eos = special.eos && at(sources.configuration, "add_eos_token") == true;
    return ok();
  }

  Result<Special> read() const {
    Special special{find("bos"), find("eos"), find("unk"), find("pad"), {}};
    const json& unknown = at(at(sources.tokenizer, "model"), "unk_token");
    if (!special.unknown && unknown.is_string())
      special.unknown = id_of(unknown.get<std::string>());
    for (const int32_t id : numbers("eos"))
      if (special.eos != id) special.ends.push_back(id);
    if (Status read = read_post_processor(special); !read) return read.error();
    return special;
  }
};

void add_special(gguf::Writer& file, const Special& special, std::vector<std::string>& notes) {
  const auto add = [&](const char* name, std::optional<int32_t> id) {
    if (id) file.add_u32(fmt::format("tokenizer.ggml.{}_token_id", name), uint32_t(*id));
  };
  add("bos", special.bos);
  add("eos", special.eos);
  add("unknown", special.unknown);
  add("padding", special.padding);
  constexpr const char* more[] = {"eot", "eom"};  // both end generation
  for (size_t i = 0; i < std::min(special.ends.size(), std::size(more)); ++i)
    add(more[i], special.ends[i]);
  if (special.ends.size() > std::size(more))
    notes.push_back(fmt::format("{} tokens end generation; a GGUF file can name three of them",
                                special.ends.size() + 1));
  file.add_bool("tokenizer.ggml.add_bos_token", special.adds_bos);
  file.add_bool("tokenizer.ggml.add_eos_token", special.adds_eos);
}

/// The default template and those with names.
Status add_templates(gguf::Writer& file, const Folder& folder, const json& configuration) {
  const auto own = folder.text("chat_template.jinja");
  if (!own) return own.error();
  const auto old = folder.json("chat_template.json");
  if (!old) return old.error();
  json templates = at(configuration, "chat_template");
  if (templates.is_null() && *old) templates = at(**old, "chat_template");
  if (*own) templates = **own;
  if (templates.is_null()) return ok();
  if (templates.is_string()) {
    file.add_string("tokenizer.chat_template", templates.get<std::string>());
    return ok();
  }
  std::vector<std::string> names;
  for (const json& each : templates.is_array() ? templates : json::array({json()})) {
    const json &name = at(each, "name"), &text = at(each, "template");
    if (!name.is_string() || !text.is_string())
      return Error{
          fmt::format("{}: the chat_template is neither a text nor a list of names and "
                      "templates",
                      folder.path_of("tokenizer_config.json"))};
    if (std::ranges::find(names, name.get<std::string>()) != names.end()) continue;
    names.push_back(name);
    file.add_string(name == "default" ? "tokenizer.chat_template"
                                      : "tokenizer.chat_template." + name.get<std::string>(),
                    text.get<std::string>());
  }
  std::erase(names, "default");
  if (!names.empty()) file.add_string_array("tokenizer.chat_templates", names);
  return ok();
}

Result<json> read_or_empty(const Folder& folder, const char* name) {
  auto read = folder.json(name);
  if (!read) return read.error();
  return *read ? std::move(**read) : json::object();
}

}  // namespace

Result<std::string> add_tokenizer(gguf::Writer& file, const Folder& folder, model::Config& config,
                                  std::vector<std::string>& notes) {
  std::error_code failed;
  if (!std::filesystem::exists(folder.path_of("tokenizer.json"), failed)) {
    file.add_string("tokenizer.ggml.model", "none");
    notes.push_back(
        fmt::format("{}: there is no tokenizer.json{}, so the file has no tokenizer: run it with "
                    "--tokens",
                    folder.path(),
                    std::filesystem::exists(folder.path_of("tokenizer.model"), failed)
                        ? " (tokenizer.model is not read)"
                        : ""));
    return std::string();
  }
  Sources sources;
  for (const auto& [name, into] : {std::pair{"tokenizer.json", &sources.tokenizer},
                                   std::pair{"tokenizer_config.json", &sources.configuration},
                                   std::pair{"special_tokens_map.json", &sources.map},
                                   std::pair{"generation_config.json", &sources.generation},
                                   std::pair{"config.json", &sources.model}}) {
    auto read = read_or_empty(folder, name);
    if (!read) return read.error();
    *into = std::move(*read);
  }
  const auto refuse = [&](const Error& error) {
    return Error{fmt::format("{}: {}", folder.path_of("tokenizer.json"), error.message)};
  };
  const uint32_t size = config.integer("vocab_size").value_or(0);
  if (config.failed()) return config.error();
  const auto vocabulary = read_vocabulary(sources.tokenizer, sources.configuration, size, notes);
  if (!vocabulary) return refuse(vocabulary.error());
  const auto special = Finder{sources, *vocabulary, notes}.read();
  if (!special) return refuse(special.error());

  file.add_string("tokenizer.ggml.model", vocabulary->model);
  file.add_string("tokenizer.ggml.pre", vocabulary->pre);
  file.add_string_array("tokenizer.ggml.tokens", vocabulary->tokens);
  file.add_i32_array("tokenizer.ggml.token_type", vocabulary->types);
  if (vocabulary->model == "llama") {
    file.add_f32_array("tokenizer.ggml.scores", vocabulary->scores);
    file.add_bool("tokenizer.ggml.add_space_prefix", vocabulary->adds_space_prefix);
  } else {
    file.add_string_array("tokenizer.ggml.merges", vocabulary->merges);
  }
  add_special(file, *special, notes);
  if (Status added = add_templates(file, folder, sources.configuration); !added)
    return added.error();
  return fmt::format("{}{}, {} tokens", vocabulary->model,
                     vocabulary->model == "gpt2" ? fmt::format(" ({})", vocabulary->pre) : "",
                     vocabulary->tokens.size());
}

}  // namespace assay::convert
