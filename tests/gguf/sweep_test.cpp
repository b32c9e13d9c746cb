// Damage of every kind at every place: a result or an error, never a crash (run under sanitizers),
// and never a tensor outside the bytes.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "gguf/raw.h"

namespace assay::gguf {
namespace {

RawFile victim(uint32_t version) {
  return RawFile{
      .version = version,
      .metadata = {u32_entry("general.alignment", 32),
                   entry("general.architecture", string_id).text("llama"),
                   entry("flag", bool_id).u8(1),
                   strings_entry("tokenizer.ggml.tokens", {"a", "bc"}),
                   array_entry("tokenizer.ggml.scores", f32_id, 2).number(0.0f).number(1.0f),
                   array_entry("tokenizer.ggml.token_type", i32_id, 2).u32(1).u32(1),
                   u32_entry("tokenizer.ggml.bos_token_id", 1), entry("real", f64_id).number(0.5)},
      .tensors = {RawTensor{.name = "a", .dims = {32, 2}, .type = 3},
                  RawTensor{.name = "b", .dims = {5}, .type = 1, .offset = 64}},
      .data_bytes = 74};
}

/// Reads all that a caller would read; says whether every tensor lies inside the bytes.
bool sound(const File& file) {
  uint64_t sum = 0;
  for (const auto& [key, value] : file.metadata()) {
    if (file.find(key) != &value) return false;
    if (const auto* array = std::get_if<Array>(&value.data)) {
      for (const auto text : array->strings) sum += text.size() + (text.empty() ? 0 : text.back());
      const bool real = array->type == ValueType::f32 || array->type == ValueType::f64;
      for (uint64_t i = 0; !array->bytes.empty() && i < array->count; ++i) {
        sum += real ? array->real(i) > 0 : static_cast<uint64_t>(array->integer(i));
      }
    }
  }
  for (const Tensor& tensor : file.tensors()) {
    if (file.find_tensor(tensor.name) != &tensor) return false;
    if (tensor.data.empty() != (tensor.elements() == 0)) return false;
    if (tensor.data.empty()) continue;
    if (tensor.data.data() != file.bytes().data() + tensor.offset) return false;
    if (tensor.offset + tensor.data.size() > file.size()) return false;
    sum += tensor.data.front() + tensor.data.back();
  }
  return sum != UINT64_MAX;
}

class GgufSweep : public testing::TestWithParam<uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Versions, GgufSweep, testing::Values(2u, 3u));

TEST_P(GgufSweep, EveryHeaderByteSetToExtremes) {
  const auto whole = victim(GetParam()).bytes();
  ASSERT_TRUE(accepted(whole));
  uint32_t refusals = 0;
  for (size_t i = 0; i < whole.size() - 74; ++i) {
    for (const uint8_t byte : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      auto bytes = whole;
      bytes[i] = byte;
      const auto file = File::parse(bytes, "x.gguf");
      if (file) {
        EXPECT_TRUE(sound(*file)) << "byte " << i << " = " << int{byte};
      } else {
        ++refusals;
        EXPECT_TRUE(file.error().message.starts_with("x.gguf: ")) << file.error().message;
      }
    }
  }
  // Magic and version: 8 bytes with at least 4 wrong values each; the counts and lengths follow.
  EXPECT_GT(refusals, 8u * 4);
}

TEST_P(GgufSweep, EveryTruncationIsRefused) {
  const auto whole = victim(GetParam()).bytes();
  for (size_t size = 0; size < whole.size(); ++size) {
    // A fresh allocation of just this size, so that a sanitizer sees each byte read beyond it.
    EXPECT_TRUE(
        refused(std::vector<uint8_t>(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size)),
                size == 0 ? "empty" : "truncated"))
        << size;
  }
}

// Eight-byte fields anywhere become the values that arithmetic wraps on.
TEST_P(GgufSweep, EveryFieldSetToWrappingNumbers) {
  const auto whole = victim(GetParam()).bytes();
  for (size_t i = 4; i + 8 <= whole.size() - 74; ++i) {
    for (const uint64_t wild : {UINT64_MAX, UINT64_MAX - 31, uint64_t{1} << 63, uint64_t{1} << 61,
                                uint64_t{1} << 32, uint64_t{0xffffffff}, uint64_t{0x7fffffff}}) {
      auto bytes = whole;
      std::memcpy(bytes.data() + i, &wild, sizeof(wild));
      const auto file = File::parse(bytes, "x.gguf");
      if (file) {
        EXPECT_TRUE(sound(*file)) << "byte " << i;
      }
    }
  }
}

TEST(GgufRealFiles, TheSharedFilesAreAllRead) {
  const char* stated = std::getenv("ASSAY_SHARED_DATA");
  const std::filesystem::path folder =
      stated != nullptr ? stated : ASSAY_SOURCE_DIR "/../shared/data";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is absent";
  uint32_t files = 0;
  for (const auto& item : std::filesystem::recursive_directory_iterator(folder)) {
    if (item.path().extension() != ".gguf") continue;
    ++files;
    const auto file = File::open(item.path());
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_TRUE(sound(*file)) << item.path();
  }
  EXPECT_GT(files, 0u);
}

TEST(GgufRealFiles, TheDefaultModelIsRead) {
  const auto variable = [](const char* name) {
    return std::string(std::getenv(name) ? std::getenv(name) : "");
  };
  std::filesystem::path cache = variable("ASSAY_CACHE");
  if (cache.empty()) {
    const std::string base = variable("XDG_CACHE_HOME");
    cache = std::filesystem::path(base.empty() ? variable("HOME") + "/.cache" : base) / "assay";
  }
  const auto path = cache / "models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is absent";
  const auto file = File::open(path);
  ASSERT_TRUE(file) << file.error().message;
  // SmolLM2-135M: 30 layers of 9 tensors, token_embd and output_norm; 49152 tokens of width 576.
  EXPECT_EQ(file->tensors().size(), 30u * 9 + 2);
  EXPECT_EQ(file->find_tensor("token_embd.weight")->dims,
            (std::array<uint64_t, 4>{576, 49152, 1, 1}));
  EXPECT_EQ(std::get<Array>(file->find("tokenizer.ggml.tokens")->data).count, 49152u);
  EXPECT_TRUE(sound(*file));
}

}  // namespace
}  // namespace assay::gguf
