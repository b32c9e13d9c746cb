#include "text/chat_prompt.h"

namespace assay::text {

Result<std::vector<Token>> encode_chat(const Tokenizer& tokenizer, const ChatTemplate& chat,
                                       const nlohmann::ordered_json& messages,
                                       const ChatOptions& options) {
  const auto prompt = chat.render(messages, options);
  if (!prompt) return Error{"the chat template can't be used: " + prompt.error().message};
  if (!prompt->has_question) {
    return Error{
        "the chat template leaves out the user's last message, so the model would never see it; "
        "choose another template with --chat-template"};
  }
  const bool begins_quoted = !prompt->quoted.empty() && prompt->quoted[0].begin == 0;
  return tokenizer.encode(prompt->text,
                          {.parse_special = true,
                           .add_bos = begins_quoted || !chat.begins_with_bos(prompt->text),
                           .add_eos = false,
                           .plain = prompt->quoted});
}

}  // namespace assay::text
