// A template rendered with variables in JSON; an error shows as "error: …".
#pragma once

#include <gtest/gtest.h>

#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/read_json.h"
#include "jinja/template.h"

namespace assay::jinja {

/// Errors keep their columns.
inline std::string render_with_columns(std::string_view source, std::string_view variables = "{}",
                                       const Limits& limits = {}) {
  const auto made = Template::compile(source, limits);
  if (!made) return "error: " + made.error().message;
  const auto json = read_json(variables);
  if (!json) return "error: " + json.error().message;
  auto context = Context::from_json(*json);
  if (!context) return "error: " + context.error().message;
  context->now = parse_date("2024-07-26 13:05:09");
  const auto text = made->render(*context);
  return text ? *text : "error: " + text.error().message;
}

inline std::string render(std::string_view source, std::string_view variables = "{}",
                          const Limits& limits = {}) {
  const std::string text = render_with_columns(source, variables, limits);
  static const std::regex column("^error: line ([0-9]+), column [0-9]+: ");
  return text.starts_with("error: ") ? std::regex_replace(text, column, "error: line $1: ") : text;
}

/// A template and what Python's jinja2 3.1.6 makes of it, configured as in tests/templates.py;
/// where Python refuses too, our sentence.
struct Case {
  std::string_view source, expected;
};
inline void check(const std::vector<Case>& cases, std::string_view variables = "{}") {
  for (const Case& each : cases) {
    EXPECT_EQ(render(each.source, variables), each.expected) << each.source;
  }
}

}  // namespace assay::jinja
