// Renders chat templates in bulk: one JSON object per line on stdin, one per line on stdout.
//
//     {"template": "…", "messages": […], "date": "2024-07-26", …}  →  {"text": "…"} or {"error":
//     "…"}
//
// Every member but `template` and `date` is a variable of the template.
#include <iostream>
#include <string>

#include "jinja/template.h"

namespace {

using Json = nlohmann::ordered_json;

Json answer(const std::string& line) {
  using namespace assay::jinja;
  Json request = Json::parse(line, nullptr, false);
  if (!request.is_object() || !request.contains("template") || !request["template"].is_string()) {
    return {{"error", "a line must be a JSON object with a string 'template'"}};
  }
  const std::string source = request["template"].get<std::string>();
  const Json date = request.value("date", Json());
  request.erase("template");
  request.erase("date");
  const auto made = Template::compile(source);
  if (!made) return {{"error", made.error().message}};
  auto context = Context::from_json(request);
  if (!context) return {{"error", context.error().message}};
  if (date.is_string()) {
    context->now = parse_date(date.get<std::string>());
    if (!context->now) return {{"error", "'date' must be YYYY-MM-DD or YYYY-MM-DD HH:MM:SS"}};
  }
  const auto text = made->render(*context);
  if (!text) return {{"error", text.error().message}};
  return {{"text", *text}};
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  std::string line;
  while (std::getline(std::cin, line)) {
    if (line.empty()) continue;
    std::cout << answer(line).dump(-1, ' ', false, Json::error_handler_t::replace) << "\n"
              << std::flush;
  }
}
