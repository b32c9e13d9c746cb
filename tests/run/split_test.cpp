// A model in three files gives the logits of the same model in one.
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "model/small_file.h"
#include "run/engine.h"
#include "support/scratch.h"
#include "trace/statistics.h"

namespace assay {
namespace {

/// Q8_0 blocks: an f16 scale of about 0.01 (0x2100 … 0x21ff), then any 32 codes. F32: near 1.
std::vector<uint8_t> random_weights(uint32_t type, uint64_t elements, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> data;
  for (uint64_t i = 0; i < elements; ++i) {
    if (type == 8) {
      if (i % 32 == 0) data.insert(data.end(), {uint8_t(random()), 0x21});
      data.push_back(uint8_t(random()));
    } else {  // 0x3f80…: 1.0 to 1.0078 as f32
      data.insert(data.end(), {uint8_t(random()), uint8_t(random()), 0x80, 0x3f});
    }
  }
  return data;
}

/// Writes `small` as `count` files below `folder`; returns the first's path.
std::string write(const tests::SmallFile& small, const std::filesystem::path& folder,
                  uint32_t count) {
  std::vector<gguf::Writer> writers(count);
  for (const auto& [key, value] : small.keys) {
    if (const auto* number = std::get_if<uint32_t>(&value)) writers[0].add_u32(key, *number);
    if (const auto* real = std::get_if<float>(&value)) writers[0].add_f32(key, *real);
    if (const auto* text = std::get_if<std::string>(&value)) writers[0].add_string(key, *text);
  }
  uint32_t index = 0;
  for (const auto& [name, tensor] : small.tensors) {
    uint64_t elements = 1;
    for (const uint64_t dim : tensor.dims) elements *= dim;
    const auto produce = [type = tensor.type, elements, index] {
      return random_weights(type, elements, index);
    };
    writers[index++ % count].add_tensor(name, tensor.type, tensor.dims, produce);
  }
  for (uint32_t i = 0; i < count; ++i) {
    if (count > 1) {
      writers[i].add_u32("split.no", i);
      writers[i].add_u32("split.count", count);
      writers[i].add_u32("split.tensors.count", uint32_t(small.tensors.size()));
    }
    const auto name = "m-0000" + std::to_string(i + 1) + "-of-0000" + std::to_string(count);
    EXPECT_TRUE(writers[i].write((folder / (name + ".gguf")).string()));
  }
  return (folder / ("m-00001-of-0000" + std::to_string(count) + ".gguf")).string();
}

std::string logits_hash(const std::string& path) {
  auto engine = run::Engine::open(path, {});
  EXPECT_TRUE(engine) << engine.error().message;
  if (!engine) return "";
  trace::LogitsHash hash;
  const std::vector<int32_t> tokens = {1, 5, 39, 0, 17};
  float largest = 0;
  auto sequence = engine->start();
  EXPECT_TRUE(sequence);
  const auto fed = engine->feed(*sequence, tokens, run::Wanted::all, [&](auto logits) {
    hash.update(logits);
    for (const float logit : logits) largest = std::max(largest, std::fabs(logit));
  });
  EXPECT_TRUE(fed) << fed.error().message;
  EXPECT_TRUE(std::isfinite(largest) && largest > 1e-3f) << "logits that could tell nothing apart";
  return hash.hex();
}

TEST(Split, ThreeFilesGiveTheLogitsOfOne) {
  const tests::Scratch scratch;
  const auto& folder = scratch.path;
  const tests::SmallFile small;
  const std::string whole = logits_hash(write(small, folder, 1));
  EXPECT_EQ(logits_hash(write(small, folder, 3)), whole);
  EXPECT_EQ(whole.size(), 64u);
}

}  // namespace
}  // namespace assay
