// A template rendered with variables in JSON; an error shows as "error: …".
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "jinja/template.h"

namespace assay::jinja {

inline std::string render(std::string_view source, std::string_view variables = "{}",
                          const Limits& limits = {}) {
  const auto made = Template::compile(source, limits);
  if (!made) return "error: " + made.error().message;
  auto context = Context::from_json(nlohmann::ordered_json::parse(variables));
  if (!context) return "error: " + context.error().message;
  context->now = parse_date("2024-07-26 13:05:09");
  const auto text = made->render(*context);
  return text ? *text : "error: " + text.error().message;
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
