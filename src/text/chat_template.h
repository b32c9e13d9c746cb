// The chat template of a GGUF file: messages → the text that the model continues.
#pragma once

#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "gguf/file.h"
#include "jinja/template.h"
#include "text/special.h"

namespace assay::text {

struct ChatOptions {
  nlohmann::ordered_json tools;       ///< an array of tools in OpenAI's shape, or null
  bool add_generation_prompt = true;  ///< end with what begins the assistant's answer
  nlohmann::ordered_json extra;  ///< an object of further variables (enable_thinking …), or null
  std::optional<std::tm> now;    ///< what strftime_now prints; the local time where empty
  /// No system message, not even the one that a template writes of its own where none is given: of
  /// an empty one and of one whose text is cut out again, what gives the shorter prompt.
  bool no_system = false;
  /// The assistant's messages say under "control_tokens" where their content spells control tokens:
  /// [[first byte, end], …]. These are control tokens again; other spellings are plain text.
  bool control_tokens = false;
};

/// What a template made of a conversation.
struct Rendering {
  std::string text;
  std::vector<Span>
      quoted;  ///< parts that come from messages, tools and other variables, ascending
  /// False where the user's last message has text, but nothing of it is here: the template is none.
  bool has_question = true;
};

class ChatTemplate {
 public:
  /// The template under `tokenizer.chat_template`, or under `tokenizer.chat_template.NAME`. Where
  /// that is the name of a template (named_templates.h), this one. Errors: none in the file (with
  /// the names that there are), not a template (with its line).
  static Result<ChatTemplate> open(const gguf::File& file, std::string_view name = {});
  /// A template that isn't in the file, with the file's tokens: one of named_templates.h by its
  /// name, or a source in Jinja.
  static Result<ChatTemplate> open_other(const gguf::File& file, const std::string& name_or_source);
  /// A template that isn't in a file; `tokens` are variables like {"bos_token", "<s>"}.
  static Result<ChatTemplate> compile(std::string_view source,
                                      std::vector<std::pair<std::string, std::string>> tokens);
  /// The names of the file's further templates.
  static std::vector<std::string> names(const gguf::File& file);

  /// `messages` is an array in OpenAI's shape. Templates want the arguments of tool calls as
  /// objects, OpenAI sends them as strings: strings that hold an object are given as objects, and
  /// as they are where the template refuses that. Errors: what the template refuses, by its line.
  Result<Rendering> render(const nlohmann::ordered_json& messages,
                           const ChatOptions& options = {}) const;

  /// Whether a rendering has nothing of the text of this message.
  bool leaves_out(const nlohmann::ordered_json& messages, size_t index,
                  const ChatOptions& options = {}) const;

  /// The name that the file holds instead of a template; empty where it holds a template.
  const std::string& name() const { return name_; }

  /// Whether the template wrote the BOS token itself: encoding must not put another before it.
  bool begins_with_bos(std::string_view rendered) const;
  /// The spelling of a token by its variable ("bos_token", "eos_token"); empty where unknown.
  std::string_view token(std::string_view variable) const;

 private:
  Result<jinja::Text> text(const nlohmann::ordered_json& messages, const ChatOptions& options,
                           std::optional<size_t> asked) const;
  Result<Rendering> rendering(const nlohmann::ordered_json& messages,
                              const ChatOptions& options) const;
  explicit ChatTemplate(jinja::Template made) : template_(std::move(made)) {}
  jinja::Template template_;
  std::string name_;
  std::vector<std::pair<std::string, std::string>> tokens_;
};

}  // namespace assay::text
