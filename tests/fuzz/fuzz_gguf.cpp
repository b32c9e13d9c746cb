// A whole file: reader, model, tokenizer, chat template. What is accepted must be usable.
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "gguf/file.h"
#include "model/model.h"
#include "text/chat_prompt.h"
#include "text/tokenizer.h"

namespace {

/// Every byte that a caller could read lies inside the input.
uint64_t read_all(const assay::gguf::File& file) {
  uint64_t sum = 0;
  for (const auto& [key, value] : file.metadata()) {
    if (file.find(key) != &value) std::abort();
    if (const auto* array = std::get_if<assay::gguf::Array>(&value.data)) {
      for (const auto text : array->strings) sum += text.empty() ? 0 : uint8_t(text.back());
      if (!array->bytes.empty()) sum += array->bytes.front() + array->bytes.back();
    }
  }
  for (const auto& tensor : file.tensors()) {
    if (file.find_tensor(tensor.name) != &tensor || tensor.data.empty()) std::abort();
    sum += tensor.data.front() + tensor.data.back();
  }
  return sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = assay::gguf::File::parse({data, size}, "x.gguf");
  if (!file) return 0;
  [[maybe_unused]] static volatile uint64_t sink;
  sink = read_all(*file);
  if (const auto program = assay::model::build(*file)) sink = program->operations.size();
  const auto tokenizer = assay::text::Tokenizer::open(*file);
  if (!tokenizer) return 0;
  for (const int32_t token : tokenizer->encode("a <|im_end|>\n\xC3\xA9 12"))
    if (token < 0 || uint64_t(token) >= tokenizer->vocabulary_size()) std::abort();
  const auto chat = assay::text::ChatTemplate::open(*file);
  if (!chat) return 0;
  const nlohmann::ordered_json messages = {{{"role", "user"}, {"content", "hi <|im_end|>"}}};
  if (const auto tokens = assay::text::encode_chat(*tokenizer, *chat, messages))
    sink = tokens->size();
  return 0;
}
