// Damage of every kind at every place of a small model: reader, model, tokenizer and chat template
// give a result or one sentence, never a signal (run under sanitizers), in bounded time and memory.
#include <gtest/gtest.h>
#include <malloc.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <nlohmann/json.hpp>
#include <random>

#include "model/small_file.h"
#include "text/chat_prompt.h"
#include "text/tokenizer.h"

namespace {

// What the case at hand has allocated with `new`, and the most of it at once.
uint64_t held = 0, peak = 0;
uint64_t running_case = 0;

void note(void* memory) {
  held += malloc_usable_size(memory);
  if (held > peak) peak = held;
}

}  // namespace

void* operator new(size_t size, const std::nothrow_t&) noexcept {
  void* memory = std::malloc(size);
  if (memory != nullptr) note(memory);
  return memory;
}
void* operator new(size_t size) {
  void* memory = operator new(size, std::nothrow);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"  // ours come from malloc, both ways
#endif
void operator delete(void* memory) noexcept {
  if (memory != nullptr) held -= malloc_usable_size(memory);
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  operator delete(memory);
}

// The sanitizers call these before they end the program.
extern "C" void __asan_on_error() {
  std::fprintf(stderr, "in case %llu\n", static_cast<unsigned long long>(running_case));
}
extern "C" void __ubsan_on_report() {
  __asan_on_error();
}

namespace assay {
namespace {

using Bytes = std::vector<uint8_t>;

/// One layer, 32 wide; a tokenizer; a chat template: about 20 KB, of which `header` come first.
struct Victim {
  Bytes bytes;
  size_t header;
};

constexpr char chat_template[] =
    "{% for m in messages %}<|x|>{{ m['role'] + ': ' + m['content'] | trim }}{% endfor %}"
    "{% if add_generation_prompt %}{{ bos_token }}{% endif %}";

Victim make_victim(bool pieces) {
  tests::SmallFile small;
  small.set("block_count", 1u);
  for (auto it = small.tensors.begin(); it != small.tensors.end();)
    it = it->first.starts_with("blk.1.") ? small.tensors.erase(it) : std::next(it);
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>",         "a",
                                     "b",     "ab",  "\xE2\x96\x81", "<|x|>"};
  std::vector<int32_t> types = {2, 3, 3, 1, 1, 1, 1, 4};
  for (const char c : std::string("hi!cdefgjk0123456")) {
    tokens.push_back(pieces && c >= '0' && c < '3' ? std::string("<0x3") + c + ">"
                                                   : std::string(1, c));
    types.push_back(pieces && c >= '0' && c < '3' ? 6 : 1);
  }
  const std::vector<float> scores(tokens.size(), -1.5f);
  gguf::Writer writer;
  for (const auto& [key, value] : small.keys) {
    if (const auto* number = std::get_if<uint32_t>(&value)) writer.add_u32(key, *number);
    if (const auto* real = std::get_if<float>(&value)) writer.add_f32(key, *real);
    if (const auto* text = std::get_if<std::string>(&value)) writer.add_string(key, *text);
  }
  writer.add_f32("llama.rope.freq_base", 10000.0f);
  writer.add_string("tokenizer.ggml.model", pieces ? "llama" : "gpt2");
  if (!pieces) writer.add_string("tokenizer.ggml.pre", "llama-bpe");
  writer.add_string_array("tokenizer.ggml.tokens", tokens);
  writer.add_f32_array("tokenizer.ggml.scores", scores);
  writer.add_i32_array("tokenizer.ggml.token_type", types);
  if (!pieces) {
    const std::vector<std::string> merges = {"a b"};
    writer.add_string_array("tokenizer.ggml.merges", merges);
  }
  writer.add_u32("tokenizer.ggml.bos_token_id", 1);
  writer.add_i32("tokenizer.ggml.eos_token_id", 2);
  writer.add_bool("tokenizer.ggml.add_bos_token", true);
  writer.add_string("tokenizer.chat_template", chat_template);
  uint64_t data = 0;
  for (const auto& [name, tensor] : small.tensors) {
    const auto info = gguf::type_info(tensor.type);
    uint64_t size = info->block_bytes;
    for (const uint64_t dim : tensor.dims) size *= dim;
    size /= info->block_size;
    data += (size + 31) / 32 * 32;
    writer.add_tensor(name, tensor.type, tensor.dims, [size] { return Bytes(size); });
  }
  Bytes bytes = writer.bytes();
  return {bytes, bytes.size() - data};
}

/// How far a file got.
enum class Reached { nothing, file, model, tokenizer, chat };

void expect_sentence(const Error& error) {
  const std::string& message = error.message;
  EXPECT_FALSE(message.empty());
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  EXPECT_LT(message.size(), 2000u) << message;
}

Reached use(const gguf::File& file) {
  [[maybe_unused]] static volatile uint64_t sink;
  const auto program = model::build(file);
  if (program)
    sink = program->operations.size();
  else
    expect_sentence(program.error());
  const auto tokenizer = text::Tokenizer::open(file);
  if (!tokenizer) {
    expect_sentence(tokenizer.error());
    return program ? Reached::model : Reached::file;
  }
  const auto tokens = tokenizer->encode("ab hi! <|x|>\n\xC3\xA9 12");
  for (const int32_t token : tokens)
    EXPECT_TRUE(token >= 0 && uint64_t(token) < tokenizer->vocabulary_size());
  sink = tokenizer->decode(tokens).size();
  const auto chat = text::ChatTemplate::open(file);
  if (!chat) {
    expect_sentence(chat.error());
    return Reached::tokenizer;
  }
  const nlohmann::ordered_json messages = {{{"role", "user"}, {"content", "hi <|x|>"}}};
  const auto prompt = text::encode_chat(*tokenizer, *chat, messages);
  if (!prompt) expect_sentence(prompt.error());
  return prompt ? Reached::chat : Reached::tokenizer;
}

/// The worst of a sweep; the limits are checked at its end.
struct Sweep {
  uint64_t cases = 0, most_memory = 0;
  double slowest = 0;
  uint64_t reached[5] = {};

  Reached run(const Bytes& bytes) {
    running_case = cases++;
    const uint64_t before = held;
    peak = held;
    const auto start = std::chrono::steady_clock::now();
    Reached got = Reached::nothing;
    {
      const auto file = gguf::File::parse(bytes, "x.gguf");
      if (file)
        got = use(*file);
      else
        expect_sentence(file.error());
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    slowest = std::max(slowest, took.count());
    most_memory = std::max(most_memory, peak - before);
    ++reached[int(got)];
    return got;
  }

  /// 2 × file, and what a template, a tokenizer and RoPE's tables of a small model take: the most
  /// seen is 0.53 MB.
  void check(size_t file_bytes) const {
    EXPECT_LT(slowest, 1.0) << "seconds";
    EXPECT_LT(most_memory, 2 * file_bytes + (2u << 20));
    std::printf(
        "%llu cases: %llu refused by the reader, %llu by model and tokenizer, %llu and %llu "
        "had one of them, %llu a chat prompt; slowest %.4f s, most memory %llu bytes\n",
        (unsigned long long)cases, (unsigned long long)reached[0], (unsigned long long)reached[1],
        (unsigned long long)reached[2], (unsigned long long)reached[3],
        (unsigned long long)reached[4], slowest, (unsigned long long)most_memory);
  }
};

class HostileSweep : public testing::TestWithParam<bool> {
 protected:
  Victim victim = make_victim(GetParam());
  Sweep sweep;
};
INSTANTIATE_TEST_SUITE_P(Tokenizers, HostileSweep, testing::Bool(), [](const auto& with) {
  return with.param ? "SentencePieces" : "BytePairs";
});

TEST_P(HostileSweep, TheUndamagedFileReachesTheChatPrompt) {
  const auto file = gguf::File::parse(victim.bytes, "x.gguf");
  ASSERT_TRUE(file) << file.error().message;
  const auto program = model::build(*file);
  EXPECT_TRUE(program) << program.error().message;
  const auto tokenizer = text::Tokenizer::open(*file);
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(sweep.run(victim.bytes), Reached::chat);
}

TEST_P(HostileSweep, EveryHeaderByteSetToExtremes) {
  for (size_t i = 0; i < victim.header; ++i) {
    for (const uint8_t byte : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      Bytes bytes = victim.bytes;
      bytes[i] = byte;
      sweep.run(bytes);
    }
    if (HasFailure()) FAIL() << "at byte " << i;
  }
  EXPECT_EQ(sweep.cases, 5 * victim.header);
  EXPECT_GT(sweep.reached[0], 8u * 4);  // magic and version: 8 bytes, 4 wrong values at least
  sweep.check(victim.bytes.size());
}

TEST_P(HostileSweep, EveryTruncationIsRefused) {
  for (size_t size = 0; size < victim.bytes.size(); ++size) {
    const Bytes bytes(victim.bytes.begin(), victim.bytes.begin() + ptrdiff_t(size));
    ASSERT_EQ(sweep.run(bytes), Reached::nothing) << size;
  }
  sweep.check(victim.bytes.size());
}

/// One edit: a byte, a bit, a number that arithmetic wraps on, a piece moved, taken out or doubled.
void edit(Bytes& bytes, size_t header, std::mt19937& random) {
  constexpr uint64_t wild[] = {0,
                               1,
                               UINT64_MAX,
                               UINT64_MAX - 31,
                               uint64_t{1} << 63,
                               uint64_t{1} << 61,
                               uint64_t{1} << 32,
                               0xffffffff,
                               0x80000000,
                               0x7fffffff,
                               65536};
  // Mostly in the header: what is behind it is weights, any bytes of which are legal.
  const size_t end = std::max<size_t>(16, random() % 16 == 0 ? bytes.size() : header);
  const size_t at = random() % (std::min(end, bytes.size()) - 8);
  const size_t length = 1 + random() % 24;
  const auto begin = bytes.begin() + ptrdiff_t(at);
  const auto stop = bytes.begin() + ptrdiff_t(std::min(at + length, bytes.size()));
  const uint64_t number = wild[random() % std::size(wild)];
  switch (random() % 16) {
    case 0:
    case 1:
    case 2:
    case 3:
      bytes[at] = uint8_t(random());
      break;
    case 4:
    case 5:
    case 6:
    case 7:
      bytes[at] ^= uint8_t(1u << random() % 8);
      break;
    case 8:
    case 9:
    case 10:
      bytes[at] = uint8_t(bytes[at] + (random() % 2 == 0 ? 1 : -1));
      break;
    case 11:
      std::memcpy(&bytes[at], &number, 4);
      break;
    case 12:
      std::memcpy(&bytes[at], &number, 8);
      break;
    case 13:
      bytes.erase(begin, stop);
      break;
    case 14: {
      const Bytes piece(begin, stop);
      bytes.insert(bytes.begin() + ptrdiff_t(random() % header), piece.begin(), piece.end());
      break;
    }
    default: {
      const Bytes piece(begin, stop);
      const size_t to = random() % (header - length);
      std::memcpy(&bytes[to], piece.data(), std::min(piece.size(), bytes.size() - to));
    }
  }
}

/// 10^5 over both tokenizers. A case is its number: std::mt19937(number) makes its edits.
TEST_P(HostileSweep, RandomEdits) {
  constexpr uint32_t seed = 20260701, count = 50000;
  std::printf("seeds %u to %u\n", seed, seed + count - 1);
  for (uint32_t i = 0; i < count; ++i) {
    std::mt19937 random(seed + i);
    Bytes bytes = victim.bytes;
    for (uint32_t edits = 1 + random() % 3; edits > 0; --edits) edit(bytes, victim.header, random);
    sweep.run(bytes);
    if (HasFailure()) FAIL() << "seed " << seed + i;
  }
  // Edits that nothing survives would test the first check only.
  EXPECT_GT(sweep.reached[1] + sweep.reached[2] + sweep.reached[3] + sweep.reached[4], count / 10);
  EXPECT_GT(sweep.reached[0], count / 10);
  sweep.check(victim.bytes.size());
}

}  // namespace
}  // namespace assay
