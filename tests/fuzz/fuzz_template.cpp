// A chat template, rendered with a conversation: text up to the first NUL is the template, the rest
// a message.
#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "jinja/template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const size_t cut = std::min(all.find('\0'), all.size());
  // JSON of one's own making is UTF-8: what isn't, is replaced as `chat` does.
  const nlohmann::json text = std::string(all.substr(std::min(cut + 1, all.size())));
  const auto message = nlohmann::ordered_json::parse(
      text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  assay::jinja::Limits limits;
  limits.steps = 200'000;
  limits.output_bytes = limits.value_bytes = 1 << 20;
  const auto made = assay::jinja::Template::compile(all.substr(0, cut), limits);
  if (!made) {
    if (made.error().message.find('\n') != std::string::npos) std::abort();
    return 0;
  }
  const nlohmann::ordered_json variables = {
      {"messages",
       {{{"role", "system"}, {"content", "be brief"}},
        {{"role", "user"}, {"content", message}},
        {{"role", "assistant"},
         {"content", nullptr},
         {"tool_calls",
          {{{"type", "function"},
            {"function", {{"name", "f"}, {"arguments", {{"x", 1}, {"y", -2.5}}}}}}}}},
        {{"role", "tool"}, {"content", "3"}}}},
      {"tools", nlohmann::ordered_json::array()},
      {"bos_token", "<s>"},
      {"eos_token", "</s>"},
      {"add_generation_prompt", true}};
  auto context = assay::jinja::Context::from_json(variables);
  if (!context) std::abort();
  context->now = assay::jinja::parse_date("2024-07-26");
  const auto first = made->render(*context), second = made->render(*context);
  if (bool(first) != bool(second)) std::abort();
  if (first && (*first != *second || first->size() > limits.output_bytes)) std::abort();
  return 0;
}
