#include "jinja/template.h"

#include "jinja/run.h"
#include "jinja/unicode.h"

namespace assay::jinja {

namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const Json& json) {
  const std::string& text = json.get_ref<const std::string&>();
  return is_valid_utf8(text) ? text : repaired_utf8(text);
}

Value convert(const Json& json, uint64_t depth) {
  if (depth > Limits{}.value_depth) {
    fail("the variables are nested more than " + std::to_string(Limits{}.value_depth) + " deep");
  }
  switch (json.type()) {
    case Json::value_t::boolean:
      return Value{json.get<bool>()};
    case Json::value_t::number_integer:
      return Value{json.get<int64_t>()};
    case Json::value_t::number_unsigned:
      if (json.get<uint64_t>() > INT64_MAX) fail("an integer of the variables doesn't fit 64 bits");
      return Value{json.get<int64_t>()};
    case Json::value_t::number_float:
      return Value{json.get<double>()};
    case Json::value_t::string:
      return make_string(text_of(json));
    case Json::value_t::array: {
      std::vector<Value> items;
      for (const Json& item : json) items.push_back(convert(item, depth + 1));
      return make_list(std::move(items));
    }
    case Json::value_t::object: {
      std::vector<std::pair<Value, Value>> entries;
      for (const auto& [key, value] : json.items()) {
        std::string name = is_valid_utf8(key) ? key : repaired_utf8(key);
        entries.emplace_back(make_string(std::move(name)), convert(value, depth + 1));
      }
      return make_dict(std::move(entries));
    }
    default:
      return none();
  }
}

/// "line 3: MESSAGE", with newlines of the message as blanks: an error is one line.
Error sentence(const Failure& failure, uint32_t line) {
  std::string message = failure.message.substr(0, 1000);
  for (char& c : message) {
    if (static_cast<uint8_t>(c) < 0x20) c = ' ';
  }
  const uint32_t at = failure.line != 0 ? failure.line : line;
  if (at != 0) message = "line " + std::to_string(at) + ": " + message;
  return Error{std::move(message)};
}

}  // namespace

struct Template::Tree {
  std::vector<Statement> body;
};

Result<Context> Context::from_json(const Json& object) {
  if (!object.is_object()) return Error{"the variables of a template must be a JSON object"};
  Context context;
  try {
    for (const auto& [key, json] : object.items()) {
      context.variables.emplace_back(key, convert(json, 0));
    }
  } catch (const Failure& failure) {
    return sentence(failure, 0);
  }
  return context;
}

Result<Template> Template::compile(std::string_view source, const Limits& limits) {
  try {
    auto tree = std::make_shared<Tree>();
    tree->body = parse(source, limits);
    resolve_names(tree->body);
    Template made;
    made.limits_ = limits;
    made.tree_ = std::move(tree);
    return made;
  } catch (const Failure& failure) {
    return sentence(failure, 0);
  }
}

Result<std::string> Template::render(const Context& context) const {
  std::string text;
  Run run(limits_);
  run.out = &text;
  run.now = context.now;
  try {
    auto scope = std::make_shared<Scope>();
    for (const auto& [name, value] : context.variables) scope->variables.emplace_back(name, value);
    // Assignments of the template stand before the variables they are named like.
    auto own = std::make_shared<Scope>();
    own->parent = scope;
    execute(run, tree_->body, own);
    return text;
  } catch (const Failure& failure) {
    return sentence(failure, run.line);
  }
}

std::optional<std::tm> parse_date(std::string_view text) {
  static constexpr std::string_view shape = "0000-00-00 00:00:00";
  if (text.size() != 10 && text.size() != shape.size()) return std::nullopt;
  const auto number = [&](uint64_t place, uint64_t digits) {
    int value = 0;
    for (uint64_t i = place; i < place + digits && i < text.size(); ++i) {
      value = value * 10 + (text[i] - '0');
    }
    return value;
  };
  for (uint64_t i = 0; i < text.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    const bool blank = shape[i] == ' ' && text[i] == 'T';
    if (shape[i] == '0' ? !digit : text[i] != shape[i] && !blank) return std::nullopt;
  }
  std::tm date{};
  date.tm_year = number(0, 4) - 1900;
  date.tm_mon = number(5, 2) - 1;
  date.tm_mday = number(8, 2);
  date.tm_hour = number(11, 2);
  date.tm_min = number(14, 2);
  date.tm_sec = number(17, 2);
  const bool valid = date.tm_mon >= 0 && date.tm_mon < 12 && date.tm_mday >= 1 &&
                     date.tm_mday <= 31 && date.tm_hour < 24 && date.tm_min < 60 &&
                     date.tm_sec < 61;
  if (!valid) return std::nullopt;
  const int day = date.tm_mday, month = date.tm_mon;
  date.tm_isdst = -1;
  std::tm filled = date;
  if (timegm(&filled) == -1 && date.tm_year != 69) return std::nullopt;
  if (filled.tm_mday != day || filled.tm_mon != month) return std::nullopt;  // 31 February
  date.tm_wday = filled.tm_wday;
  date.tm_yday = filled.tm_yday;
  return date;
}

}  // namespace assay::jinja
