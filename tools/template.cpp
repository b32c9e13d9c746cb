// Renders chat templates in bulk: one JSON object per line on stdin, one per line on stdout.
//
//     {"template": "…", "messages": […], "date": "2024-07-26", …}  →  {"text": "…"} or {"error":
//     "…"}
//
// Every member but `template`, `date` and `quoted` is a variable of the template. With `quoted`, the
// answer has the parts of the text that come from variables, too: "quoted": [[begin, end], …], in
// bytes.
#include <iostream>
#include <string>

#include "jinja/read_json.h"
#include "jinja/template.h"

namespace {

using Json = nlohmann::ordered_json;

Json quoted_parts(const assay::jinja::Text& text) {
  Json parts = Json::array();
  for (uint64_t i = 0, begin = 0; i <= text.size(); ++i) {
    const auto quoted = [&](uint64_t at) {
      return at < text.size() && text.origin(at) != assay::jinja::Origin::own;
    };
    if (quoted(i) && (i == 0 || !quoted(i - 1))) begin = i;
    if (!quoted(i) && i > 0 && quoted(i - 1)) parts.push_back({begin, i});
  }
  return parts;
}

Json answer(const std::string& line) {
  using namespace assay::jinja;
  auto read = read_json(line);
  Json request = read ? std::move(*read) : Json();
  if (!request.is_object() || !request.contains("template") || !request["template"].is_string()) {
    return {{"error", "a line must be a JSON object with a string 'template'"}};
  }
  const std::string source = request["template"].get<std::string>();
  const Json date = request.value("date", Json());
  const bool with_quoted = request.contains("quoted");
  for (const char* name : {"template", "date", "quoted"}) request.erase(name);
  const auto made = Template::compile(source);
  if (!made) return {{"error", made.error().message}};
  auto context = Context::from_json(request);
  if (!context) return {{"error", context.error().message}};
  if (date.is_string()) {
    context->now = parse_date(date.get<std::string>());
    if (!context->now) return {{"error", "'date' must be YYYY-MM-DD or YYYY-MM-DD HH:MM:SS"}};
  }
  const auto text = made->render_text(*context);
  if (!text) return {{"error", text.error().message}};
  Json answer = {{"text", text->bytes}};
  if (with_quoted) answer["quoted"] = quoted_parts(*text);
  return answer;
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
