#include "text/named_templates.h"

#include <fmt/format.h>

#include <map>

namespace assay::text {

namespace {

/// A format in which every message is: head, role, middle, content, tail.
struct AnyRole {
  const char *name, *begin, *head, *middle, *tail, *ask;
  bool trims = false;
};
constexpr AnyRole any_role[] = {
    {"chatml", "", "<|im_start|>", "\n", "<|im_end|>\n", "<|im_start|>assistant\n"},
    {"chatglm3", "[gMASK]sop", "<|", "|>\n ", "", "<|assistant|>"},
    {"chatglm4", "[gMASK]<sop>", "<|", "|>\n", "", "<|assistant|>\n"},
    {"falcon3", "", "<|", "|>\n", "\n", "<|assistant|>\n"},
    {"glmedge", "", "<|", "|>\n", "", "<|assistant|>"},
    {"llama3", "", "<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>",
     "<|start_header_id|>assistant<|end_header_id|>\n\n", true},
    {"llama4", "", "<|header_start|>", "<|header_end|>\n\n", "<|eot|>",
     "<|header_start|>assistant<|header_end|>\n\n", true},
    {"megrez", "", "<|role_start|>", "<|role_end|>", "<|turn_end|>",
     "<|role_start|>assistant<|role_end|>"},
    {"phi3", "", "<|", "|>\n", "<|end|>\n", "<|assistant|>\n"},
    {"phi4", "", "<|im_start|>", "<|im_sep|>", "<|im_end|>", "<|im_start|>assistant<|im_sep|>"},
    {"solar-open", "", "<|begin|>", "<|content|>", "<|end|>", "<|begin|>assistant"},
    {"zephyr", "", "<|", "|>\n", "<|endoftext|>\n", "<|assistant|>\n"},
};

/// A format with a text before and after the content for each of three roles.
struct EachRole {
  const char *name, *begin, *system[2], *user[2], *assistant[2], *ask;
  bool trims = false;
};
constexpr const char* end_of_sentence = "<\uFF5Cend\u2581of\u2581sentence\uFF5C>";
constexpr EachRole each_role[] = {
    {"command-r",
     "",
     {"<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>", "<|END_OF_TURN_TOKEN|>"},
     {"<|START_OF_TURN_TOKEN|><|USER_TOKEN|>", "<|END_OF_TURN_TOKEN|>"},
     {"<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>"},
     "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
     true},
    {"deepseek",
     "",
     {"", ""},
     {"### Instruction:\n", "\n"},
     {"### Response:\n", "\n<|EOT|>\n"},
     "### Response:\n"},
    {"deepseek2",
     "",
     {"", "\n\n"},
     {"User: ", "\n\n"},
     {"Assistant: ", end_of_sentence},
     "Assistant:"},
    {"deepseek3",
     "",
     {"", "\n\n"},
     {"<\uFF5CUser\uFF5C>", ""},
     {"<\uFF5CAssistant\uFF5C>", end_of_sentence},
     "<\uFF5CAssistant\uFF5C>"},
    {"exaone3",
     "",
     {"[|system|]", "[|endofturn|]\n"},
     {"[|user|]", "\n"},
     {"[|assistant|]", "[|endofturn|]\n"},
     "[|assistant|]",
     true},
    {"gpt-oss",
     "",
     {"<|start|>system<|message|>", "<|end|>"},
     {"<|start|>user<|message|>", "<|end|>"},
     {"<|start|>assistant<|message|>", "<|return|>"},
     "<|start|>assistant"},
    {"kimi-k2",
     "",
     {"<|im_system|>system<|im_middle|>", "<|im_end|>"},
     {"<|im_user|>user<|im_middle|>", "<|im_end|>"},
     {"<|im_assistant|>assistant<|im_middle|>", "<|im_end|>"},
     "<|im_assistant|>assistant<|im_middle|>"},
    {"mistral-v7",
     "",
     {"[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"},
     {"[INST] ", "[/INST]"},
     {" ", "</s>"},
     ""},
    {"mistral-v7-tekken",
     "",
     {"[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"},
     {"[INST]", "[/INST]"},
     {"", "</s>"},
     ""},
    {"openchat",
     "",
     {"", "<|end_of_turn|>"},
     {"GPT4 Correct User: ", "<|end_of_turn|>"},
     {"GPT4 Correct Assistant: ", "<|end_of_turn|>"},
     "GPT4 Correct Assistant:"},
    {"smolvlm",
     "<|im_start|>",
     {"", "\n\n"},
     {"User: ", "<end_of_utterance>\n"},
     {"Assistant: ", "<end_of_utterance>\n"},
     "Assistant:"},
    {"vicuna", "", {"", "\n\n"}, {"USER: ", "\n"}, {"ASSISTANT: ", "</s>\n"}, "ASSISTANT:"},
    {"vicuna-orca",
     "",
     {"SYSTEM: ", "\n"},
     {"USER: ", "\n"},
     {"ASSISTANT: ", "</s>\n"},
     "ASSISTANT:"},
};

/// [INST] … [/INST] with the system message inside of the first.
struct Instructions {
  const char *name, *open, *reopen, *system[2], *after_user, *before_answer;
  bool opens_at_once = false, trims = false, trims_answers = false;
};
constexpr Instructions instructions[] = {
    {"llama2", "[INST] ", "[INST] ", {"", "\n"}, " [/INST]", "", true},
    {"llama2-sys", "[INST] ", "[INST] ", {"<<SYS>>\n", "\n<</SYS>>\n\n"}, " [/INST]", "", true},
    {"llama2-sys-bos",
     "[INST] ",
     "<s>[INST] ",
     {"<<SYS>>\n", "\n<</SYS>>\n\n"},
     " [/INST]",
     "",
     true},
    {"llama2-sys-strip",
     "[INST] ",
     "[INST] ",
     {"<<SYS>>\n", "\n<</SYS>>\n\n"},
     " [/INST]",
     "",
     true,
     true},
    {"mistral-v1", " [INST] ", " [INST] ", {"", "\n\n"}, " [/INST]", " "},
    {"mistral-v3", "[INST] ", "[INST] ", {"", "\n\n"}, "[/INST]", " ", false, false, true},
    {"mistral-v3-tekken", "[INST]", "[INST]", {"", "\n\n"}, "[/INST]", ""},
};

/// Gemma has no system message: it goes before the first message of the user.
constexpr const char* gemma = R"(
{%- set ns = namespace(system='') -%}
{%- for m in messages -%}
{%- if m.role == 'system' -%}
{%- set ns.system = ns.system + m.content | trim -%}
{%- else -%}
{{- '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' -}}
{%- if ns.system and m.role != 'assistant' -%}
{{- ns.system + '\n\n' -}}
{%- set ns.system = '' -%}
{%- endif -%}
{{- m.content | trim + '<end_of_turn>\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<start_of_turn>model\n' -}}
{%- endif -%}
)";

std::string source(const AnyRole& format) {
  return fmt::format(
      "{{{{ '{}' }}}}{{% for m in messages %}}"
      "{{{{ '{}' + m.role + '{}' + m.content{} + '{}' }}}}{{% endfor %}}"
      "{{% if add_generation_prompt %}}{{{{ '{}' }}}}{{% endif %}}",
      format.begin, format.head, format.middle, format.trims ? " | trim" : "", format.tail,
      format.ask);
}

std::string source(const EachRole& format) {
  const char* content = format.trims ? "m.content | trim" : "m.content";
  std::string roles;
  for (const auto& [role, around] :
       {std::pair{"system", format.system}, std::pair{"user", format.user},
        std::pair{"assistant", format.assistant}}) {
    roles += fmt::format("{{% {} m.role == '{}' %}}{{{{ '{}' + {} + '{}' }}}}",
                         roles.empty() ? "if" : "elif", role, around[0], content, around[1]);
  }
  return fmt::format(
      "{{{{ '{}' }}}}{{% for m in messages %}}{}{{% else %}}"
      "{{{{ raise_exception('the format {} has no role ' + m.role) }}}}{{% endif %}}{{% endfor %}}"
      "{{% if add_generation_prompt %}}{{{{ '{}' }}}}{{% endif %}}",
      format.begin, roles, format.name, format.ask);
}

std::string source(const Instructions& format) {
  return fmt::format(
      "{{% set ns = namespace(open={}, begun=false) %}}{}{{% for m in messages %}}"
      "{{% set content = m.content{} %}}"
      "{{% if not ns.open %}}{{{{ '{}' if ns.begun else '{}' }}}}{{% set ns.open = true %}}"
      "{{% endif %}}{{% set ns.begun = true %}}"
      "{{% if m.role == 'system' %}}{{{{ '{}' + content + '{}' }}}}"
      "{{% elif m.role == 'user' %}}{{{{ content + '{}' }}}}"
      "{{% elif m.role == 'assistant' %}}{{{{ '{}' + content{} + '</s>' }}}}"
      "{{% set ns.open = false %}}"
      "{{% else %}}{{{{ raise_exception('the format {} has no role ' + m.role) }}}}{{% endif %}}"
      "{{% endfor %}}",
      format.opens_at_once, format.opens_at_once ? format.open : "", format.trims ? " | trim" : "",
      format.reopen, format.open, format.system[0], format.system[1], format.after_user,
      format.before_answer, format.trims_answers ? " | trim" : "", format.name);
}

const std::map<std::string, std::string, std::less<>>& all() {
  static const auto made = [] {
    std::map<std::string, std::string, std::less<>> sources = {{"gemma", gemma}};
    for (const auto& format : any_role) sources[format.name] = source(format);
    for (const auto& format : each_role) sources[format.name] = source(format);
    for (const auto& format : instructions) sources[format.name] = source(format);
    return sources;
  }();
  return made;
}

}  // namespace

std::optional<std::string> named_template(std::string_view name) {
  const auto found = all().find(name);
  return found == all().end() ? std::nullopt : std::optional(found->second);
}

std::string template_names() {
  std::string names;
  for (const auto& [name, source] : all()) names += (names.empty() ? "" : ", ") + name;
  return names;
}

}  // namespace assay::text
