#include "jinja/template.h"

#include <algorithm>

#include "jinja/run.h"
#include "jinja/unicode.h"

namespace assay::jinja {

namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const Json& json) {
  const std::string& text = json.get_ref<const std::string&>();
  return is_valid_utf8(text) ? text : repaired_utf8(text);
}

/// JSON → values of a context.
struct Reader {
  Context& context;
  const Quoting& quoting;

  Value string(const Json& json, std::string_view member, bool asked) const {
    std::string text = text_of(json);
    context.size += text.size();
    const bool own = quoting.own && quoting.own(member, text);
    Text made(std::move(text), own ? Origin::own : asked ? Origin::asked : Origin::quoted);
    if (const auto found = quoting.own_parts.find(&json); found != quoting.own_parts.end()) {
      for (const auto& [begin, end] : found->second) {
        for (uint64_t i = begin; i < std::min<uint64_t>(end, made.origins.size()); ++i)
          made.origins[i] = static_cast<char>(Origin::own);
      }
    }
    return make_string(std::move(made));
  }

  Value object(const Json& json, bool asked, uint64_t depth) const {
    std::vector<std::pair<Value, Value>> entries;
    for (const auto& [key, value] : json.items()) {
      entries.emplace_back(string(Json(key), {}, false), read(value, key, asked, depth + 1));
    }
    return make_dict(std::move(entries));
  }

  Value read(const Json& json, std::string_view member, bool asked, uint64_t depth) const {
    if (depth > Limits{}.value_depth) {
      fail("the variables are nested more than " + std::to_string(Limits{}.value_depth) + " deep");
    }
    context.size += 8;
    asked = asked || &json == quoting.asked;
    switch (json.type()) {
      case Json::value_t::boolean:
        return Value{json.get<bool>()};
      case Json::value_t::number_integer:
        return Value{json.get<int64_t>()};
      case Json::value_t::number_unsigned:
        return make_integer(std::to_string(json.get<uint64_t>()));
      case Json::value_t::binary:
        return make_integer(std::string(json.get_binary().begin(), json.get_binary().end()));
      case Json::value_t::number_float:
        return Value{json.get<double>()};
      case Json::value_t::string:
        return string(json, member, asked);
      case Json::value_t::array: {
        std::vector<Value> items;
        for (const Json& item : json) items.push_back(read(item, member, asked, depth + 1));
        return make_list(std::move(items));
      }
      case Json::value_t::object:
        return object(json, asked, depth);
      default:
        return none();
    }
  }
};

/// "line 3, column 7: MESSAGE", with newlines of the message as blanks: an error is one line.
Error sentence(const Failure& failure, Place place) {
  std::string message = failure.message.substr(0, 1000);
  for (char& c : message) {
    if (static_cast<uint8_t>(c) < 0x20) c = ' ';
  }
  const Place at = failure.place.line != 0 ? failure.place : place;
  if (at.line != 0) {
    message = "line " + std::to_string(at.line) + ", column " + std::to_string(at.column) + ": " +
              message;
  }
  return Error{std::move(message)};
}

}  // namespace

struct Template::Tree {
  std::vector<Statement> body;
};

Result<Context> Context::from_json(const Json& object) {
  if (!object.is_object()) return Error{"the variables of a template must be a JSON object"};
  Context context;
  for (const auto& [name, json] : object.items()) {
    if (const Status added = context.add(name, json); !added) return added.error();
  }
  return context;
}

void set(std::vector<std::pair<std::string, Value>>& variables, const std::string& name,
         Value value) {
  for (auto& [known, old] : variables) {
    if (known != name) continue;
    old = std::move(value);
    return;
  }
  variables.emplace_back(name, std::move(value));
}

Status Context::add(const std::string& name, const Json& value, const Quoting& quoting) {
  try {
    set(variables, name, Reader{*this, quoting}.read(value, name, false, 0));
  } catch (const Failure& failure) {
    return sentence(failure, {});
  }
  return ok();
}

void Context::add_own(const std::string& name, std::string text) {
  set(variables, name, make_string(is_valid_utf8(text) ? std::move(text) : repaired_utf8(text)));
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
    return sentence(failure, {});
  }
}

Result<std::string> Template::render(const Context& context) const {
  auto text = render_text(context);
  if (!text) return text.error();
  return std::move(text->bytes);
}

Result<Text> Template::render_text(const Context& context) const {
  Text text;
  const Limits limits = limits_.grown(context.size);
  Run run(limits);
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
    return sentence(failure, run.place);
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
