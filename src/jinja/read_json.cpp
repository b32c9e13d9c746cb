#include "jinja/read_json.h"

#include <algorithm>
#include <string>
#include <vector>

#include "jinja/unicode.h"

namespace assay::jinja {

namespace {

using Json = nlohmann::ordered_json;

/// Builds the value while nlohmann's parser reads it: only here the digits of a number are seen.
struct Builder : nlohmann::json_sax<Json> {
  Json root;
  std::vector<Json*> open;  // containers that are not closed yet
  std::string name;         // of the member that comes next
  size_t stopped_at = 0;    // bytes read when an error was met
  bool too_large = false;   // a number
  std::string near;

  Json* put(Json value) {
    if (open.empty()) {
      root = std::move(value);
      return &root;
    }
    if (open.back()->is_array()) {
      open.back()->push_back(std::move(value));
      return &open.back()->back();
    }
    // Without a search for the name, which would take the square of their number. Of two equal
    // names the context takes the last.
    auto& members = open.back()->get_ref<Json::object_t&>();
    return &static_cast<std::vector<Json::object_t::value_type>&>(members)
                .emplace_back(std::move(name), std::move(value))
                .second;
  }

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(number_integer_t value) override { return put(value); }
  bool number_unsigned(number_unsigned_t value) override { return put(value); }
  bool number_float(number_float_t value, const string_t& digits) override {
    if (digits.find_first_of(".eE") != digits.npos) return put(value);
    return put(Json::binary(std::vector<uint8_t>(digits.begin(), digits.end())));
  }
  bool string(string_t& value) override { return put(std::move(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override {
    open.push_back(put(Json::object()));
    return true;
  }
  bool start_array(size_t) override {
    open.push_back(put(Json::array()));
    return true;
  }
  bool key(string_t& value) override {
    name = std::move(value);
    return true;
  }
  bool end_object() override {
    open.pop_back();
    return true;
  }
  bool end_array() override { return end_object(); }
  bool parse_error(size_t position, const std::string& last,
                   const nlohmann::detail::exception& error) override {
    too_large = dynamic_cast<const Json::out_of_range*>(&error) != nullptr;
    stopped_at = position;
    near = last;
    return false;
  }
};

}  // namespace

Result<Json> read_json(std::string_view text) {
  Builder builder;
  if (Json::sax_parse(text.begin(), text.end(), &builder)) return std::move(builder.root);
  const std::string_view read =
      text.substr(0, std::min(std::max<size_t>(builder.stopped_at, 1) - 1, text.size()));
  const size_t line = size_t(std::count(read.begin(), read.end(), '\n')) + 1;
  const size_t start = read.rfind('\n') + 1;  // npos + 1 is 0
  std::string message = "line " + std::to_string(line) + ", column " +
                        std::to_string(count_code_points(read.substr(start)) + 1) + ": not JSON";
  const std::string near = repaired_utf8(
      builder.near.substr(builder.near.size() - std::min<size_t>(builder.near.size(), 30)));
  if (builder.too_large) {
    message = message.substr(0, message.rfind(':')) + ": the number ends with '" + near +
              "' and is beyond 1.8e308";
  } else if (builder.stopped_at > text.size()) {
    message += ": it ends too early";
  } else if (near.find_first_of("\n\r") == near.npos && !near.empty()) {
    message += " at '" + near + "'";
  }
  return Error{std::move(message)};
}

}  // namespace assay::jinja
