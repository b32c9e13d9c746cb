// The words of the kernel language mean on a GPU what the emulated grid says: equal bits.
#include "device/cuda/words.h"

#include <random>

#include "device/emulated/queue.h"
#include "support.h"

namespace assay::tests {
namespace {

/// The kernel's output on a queue, over random bits of the seed.
std::vector<uint32_t> run_words(device::Queue& queue, std::string_view kernel, uint32_t groups,
                                uint32_t group_size, uint32_t seed) {
  const uint32_t threads = groups * group_size;
  std::mt19937 random(seed);
  std::vector<uint32_t> x(4 * threads), y(4 * threads), z(4 * threads);
  for (auto* words : {&x, &y, &z})
    for (uint32_t& word : *words) word = random();
  // Half of the floats near 1, where sums and products round; the others of every size.
  for (uint32_t i = 0; i < threads; i += 2)
    for (auto* words : {&x, &y, &z}) (*words)[i] = ((*words)[i] & 0x80ffffffu) | 0x3f000000u;
  const auto out = put(queue, std::vector<uint32_t>(threads * 32, 0xdeadbeefu));
  const WordsArgs args = {pointer<const uint32_t>(put(queue, x)),
                          pointer<const uint32_t>(put(queue, y)),
                          pointer<const uint32_t>(put(queue, z)),
                          pointer<uint32_t>(out),
                          threads,
                          0};
  const auto done = queue.launch({kernel, groups, 1, group_size, bytes_of_one(args)});
  EXPECT_TRUE(done) << done.error().message;
  return get<uint32_t>(queue, out, threads * 32);
}

class CudaWords : public OnCuda {
 protected:
  void compare(std::string_view kernel, uint32_t groups, uint32_t group_size) {
    for (uint32_t seed = 1; seed <= 3; ++seed) {
      const auto grid = emulated::make_queue({});
      const auto expected = run_words(*grid, kernel, groups, group_size, seed);
      const auto found = run_words(*queue, kernel, groups, group_size, seed);
      uint32_t shown = 0;
      for (size_t i = 0; i < expected.size() && shown < 10; ++i)
        if (expected[i] != found[i])
          ADD_FAILURE() << kernel << ": thread " << i / 32 << ", word " << i % 32 << ", seed "
                        << seed << ", call " << ++shown << ": " << std::hex << found[i] << " here, "
                        << expected[i] << " on the emulated grid";
    }
  }
};

TEST_F(CudaWords, Arithmetic) {
  compare("words_arithmetic", 512, 128);
}
TEST_F(CudaWords, Exchanges) {
  for (const uint32_t group_size : {32u, 64u, 256u}) compare("words_exchange", 1, group_size);
}
TEST_F(CudaWords, Tiles) {
  compare("words_tiles", 64, 32);
}

/// The same kernels where there is no GPU: what is compared above is neither constant nor unset.
TEST(EmulatedWords, AreWrittenAndDependOnTheirInputs) {
  const auto grid = emulated::make_queue({});
  for (const auto& [kernel, size, words] :
       {std::tuple("words_arithmetic", 64u, 21u), std::tuple("words_exchange", 64u, 20u),
        std::tuple("words_tiles", 32u, 8u)}) {
    const auto first = run_words(*grid, kernel, 1, size, 1),
               other = run_words(*grid, kernel, 1, size, 2);
    for (uint32_t k = 0; k < words; ++k) {
      bool varies = false;
      for (uint32_t i = 0; i < size; ++i) {
        EXPECT_NE(first[i * 32 + k], 0xdeadbeefu) << kernel << ", word " << k;
        varies = varies || first[i * 32 + k] != first[k] || first[i * 32 + k] != other[i * 32 + k];
      }
      const bool unused = std::string_view(kernel) == "words_exchange" && k >= 13 && k < 16;
      EXPECT_TRUE(varies || unused) << kernel << ", word " << k;
    }
  }
}

}  // namespace
}  // namespace assay::tests
