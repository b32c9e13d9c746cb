// Chat templates in Jinja's language, as Hugging Face transformers runs them: an immutable sandbox
// with trim_blocks and lstrip_blocks, `break`, `continue` and `generation` tags, a `tojson` that is
// json.dumps, and the functions raise_exception(message) and strftime_now(format).
//
//     Result<Template> made = Template::compile(source);
//     Result<Context> context = Context::from_json({{"messages", …}});
//     Result<std::string> text = made->render(*context);
//
// A template is hostile input: Limits bound its work, memory and recursion. Every error is one
// sentence that begins with "line N: ".
#pragma once

#include <ctime>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "jinja/limits.h"
#include "jinja/value.h"

namespace assay::jinja {

/// The origin of a variable's strings, for Context::add. They are `quoted` but for these:
struct Quoting {
  const nlohmann::ordered_json* asked = nullptr;  ///< a value inside, whose strings are `asked`
  /// Whether the text of an object's member counts as the template's own.
  bool (*own)(std::string_view member, std::string_view text) = nullptr;
  /// Parts of strings inside that count as the template's own: (first byte, end).
  using Parts = std::vector<std::pair<uint64_t, uint64_t>>;
  std::map<const nlohmann::ordered_json*, Parts> own_parts = {};
};

/// What a template sees.
struct Context {
  std::vector<std::pair<std::string, Value>> variables;
  std::optional<std::tm> now;  ///< what strftime_now prints; the local time where empty
  uint64_t size = 0;           ///< bytes of the variables' strings, and 8 for each other value

  /// From a JSON object (read_json's, where integers may be large): a variable a member, with its
  /// order kept. Errors: not an object, nested more than Limits::value_depth deep.
  static Result<Context> from_json(const nlohmann::ordered_json& object);
  /// Adds or replaces a variable.
  Status add(const std::string& name, const nlohmann::ordered_json& value,
             const Quoting& quoting = {});
  /// A string that counts as the template's own.
  void add_own(const std::string& name, std::string text);
};

class Template {
 public:
  static Result<Template> compile(std::string_view source, const Limits& limits = {});
  Result<std::string> render(const Context& context) const;
  /// The same, with the origin of each byte.
  Result<Text> render_text(const Context& context) const;

 private:
  struct Tree;
  Limits limits_;
  std::shared_ptr<const Tree> tree_;
};

/// "2024-07-26" or "2024-07-26 13:05:00" (a T may stand for the blank); empty for anything else.
std::optional<std::tm> parse_date(std::string_view text);

}  // namespace assay::jinja
