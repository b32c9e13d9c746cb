// One Answer for the architectures beside llama: the same bits for any threads, instruction set,
// cut, batch and device; every operation inside the judge's bound; and llama.cpp's logits.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "cpu/kernels.h"
#include "judge/replay.h"
#include "run/engine.h"
#include "support/architecture_file.h"
#include "trace/safetensors_file.h"
#include "trace/statistics.h"

namespace assay::run {
namespace {

constexpr uint32_t prompt_length = 75;  // past one page of 64 keys, and past the short factors

std::vector<int32_t> prompt() {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < int32_t(prompt_length); ++i) tokens.push_back(i * 131 % 293 + 3);
  return tokens;
}

struct Frozen {
  const char* architecture;
  const char* hash;  ///< the first 16 digits of the logits' hash under assay/1
};

void PrintTo(const Frozen& model, std::ostream* out) {
  *out << model.architecture;
}

class ArchitectureRun : public ::testing::TestWithParam<Frozen> {
 protected:
  ArchitectureRun()
      : path_(std::filesystem::temp_directory_path() /
              ("assay_architecture_" + std::to_string(getpid()) + GetParam().architecture)) {
    const auto written =
        assay::testing::ArchitectureFile(GetParam().architecture).writer().write(path_.string());
    EXPECT_TRUE(written);
  }
  ~ArchitectureRun() override { std::filesystem::remove(path_); }

  Engine open(op::ExecutorOptions executor = {}, const char* device = "cpu",
              uint32_t context = 0) const {
    EngineOptions options;
    options.device = device;
    options.context = context;
    options.executor = std::move(executor);
    auto engine = Engine::open(path_.string(), options);
    if (!engine) throw std::runtime_error(engine.error().message);
    return std::move(*engine);
  }

  std::string hash(Engine engine, std::set<uint32_t> cuts = {}) const {
    const auto tokens = prompt();
    trace::LogitsHash hash;
    Sequence sequence = std::move(*engine.start());
    cuts.insert(prompt_length);
    uint32_t start = 0;
    for (const uint32_t end : cuts) {
      const auto part = std::span(tokens).subspan(start, end - start);
      EXPECT_TRUE(
          engine.feed(sequence, part, Wanted::all, [&](auto logits) { hash.update(logits); }));
      start = end;
    }
    return hash.hex();
  }

  std::filesystem::path path_;
};

TEST_P(ArchitectureRun, HasOneAnswer) {
  const std::string want = hash(open());
  EXPECT_EQ(want.substr(0, 16), GetParam().hash) << "the frozen bits of contract assay/1";
  for (const char* isa : {"portable", "avx2", "avx512"}) {
    if (!cpu::find_kernels(isa)) continue;
    for (const uint32_t threads : {1u, 2u, 3u}) {
      op::ExecutorOptions options;
      options.isa = isa;
      options.threads = threads;
      EXPECT_EQ(hash(open(options)), want) << isa << ", " << threads << " threads";
    }
  }
  std::set<uint32_t> each;
  for (uint32_t i = 1; i < prompt_length; ++i) each.insert(i);
  EXPECT_EQ(hash(open(), each), want) << "token by token";
  EXPECT_EQ(hash(open(), {1, 7, 64, 70}), want);
  EXPECT_EQ(hash(open({}, "emulated")), want) << "emulated";
  EXPECT_EQ(hash(open({}, "emulated"), {33, 74}), want) << "emulated, cut";
}

TEST_P(ArchitectureRun, EverySequenceOfABatchIsAsIfAlone) {
  const auto tokens = prompt();
  const std::span all(tokens);
  for (const char* device : {"cpu", "emulated"}) {
    op::ExecutorOptions options;
    options.sequences = 2;
    Engine engine = open(options, device);
    Sequence first = std::move(*engine.start()), second = std::move(*engine.start());
    ASSERT_TRUE(engine.feed(first, all.first(3), Wanted::last));
    const std::vector<Part> parts = {{first, all.subspan(3, 20)}, {second, all}};
    const auto logits = engine.step(parts, Wanted::all);
    ASSERT_TRUE(logits) << logits.error().message;
    trace::LogitsHash own;
    own.update(logits->subspan(size_t(20) * engine.program().vocabulary));
    EXPECT_EQ(own.hex().substr(0, 16), GetParam().hash) << device;
  }
}

TEST_P(ArchitectureRun, EveryOperationIsInsideItsBound) {
  for (const op::Contract contract : {op::Contract::assay1, op::Contract::f32}) {
    op::ExecutorOptions options;
    options.contract = contract;
    Engine engine = open(options);
    judge::Replay replay(engine.program(), options);
    engine.watch_steps([&](const op::Step& step) { replay.begin_step(step); });
    Sequence sequence = std::move(*engine.start());
    const auto tokens = prompt();
    const std::span all(tokens);
    ASSERT_TRUE(engine.feed(sequence, all.first(70), Wanted::all, {}, std::ref(replay)));
    ASSERT_TRUE(engine.feed(sequence, all.subspan(70), Wanted::all, {}, std::ref(replay)));
    for (const judge::OperationError& error : replay.results()) {
      EXPECT_GT(error.elements, 0u) << error.name;
      EXPECT_EQ(error.failures, 0u) << error.name << ": " << error.max_u << " of " << error.limit_u;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Architecture, ArchitectureRun,
                         ::testing::Values(Frozen{"llama", "a1d5776a341be269"},
                                           Frozen{"qwen2", "8046935ea017fe7a"},
                                           Frozen{"qwen3", "bb9801ab36172ca1"},
                                           Frozen{"phi3", "bfc97c6ff586c999"}),
                         [](const auto& model) { return std::string(model.param.architecture); });

class Phi3Limit : public ArchitectureRun {};
INSTANTIATE_TEST_SUITE_P(Factors, Phi3Limit, ::testing::Values(Frozen{"phi3", "bfc97c6ff586c999"}));

// Within a limit the present length never matters: 40 tokens are short of the original 64.
TEST_P(Phi3Limit, ChoosesTheFactorsOfAnEngine) {
  const auto first_40 = [&](Engine engine) {
    Sequence sequence = std::move(*engine.start());
    const auto tokens = prompt();
    trace::LogitsHash hash;
    EXPECT_TRUE(engine.feed(sequence, std::span(tokens).first(40), Wanted::all,
                            [&](auto logits) { hash.update(logits); }));
    return hash.hex();
  };
  EXPECT_EQ(open().program().rope_factors, "long");
  EXPECT_EQ(open({}, "cpu", 64).program().rope_factors, "short");
  EXPECT_EQ(first_40(open()), first_40(open({}, "cpu", 65)));
  EXPECT_EQ(first_40(open({}, "cpu", 64)), first_40(open({}, "cpu", 41)));
  EXPECT_NE(first_40(open()), first_40(open({}, "cpu", 64)));
  // One model, engines of two limits.
  const auto model = run::Model::open(path_.string());
  ASSERT_TRUE(model);
  EngineOptions near;
  near.context = 64;
  const auto engine = Engine::make(*model, near);
  ASSERT_TRUE(engine);
  EXPECT_EQ(engine->program().rope_factors, "short");
  EXPECT_EQ(engine->context(), 64u);
  EXPECT_EQ((*model)->program().rope_factors, "long");
}

/// ../shared/data/architectures: tiny models that llama.cpp's own tool writes, with its logits.
class Shared : public ::testing::TestWithParam<std::string> {
 public:
  static std::filesystem::path folder() {
    const char* data = std::getenv("ASSAY_SHARED_DATA");
    return std::filesystem::path(data ? data : ASSAY_SOURCE_DIR "/../shared/data") /
           "architectures";
  }
  static std::vector<std::string> names() {
    std::vector<std::string> names;
    std::error_code absent;
    for (const auto& entry : std::filesystem::directory_iterator(folder(), absent))
      if (entry.path().extension() == ".gguf") names.push_back(entry.path().stem());
    std::ranges::sort(names);
    if (names.empty()) names.emplace_back("none");
    return names;
  }
};

std::string file_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_P(Shared, AgreesWithLlamaCppOrIsRefusedByName) {
  const std::filesystem::path path = folder() / (GetParam() + ".gguf");
  if (!std::filesystem::exists(path)) GTEST_SKIP() << folder() << " is not here";
  const std::set<std::string> unsupported = {"deepseek2-moe", "granitehybrid-dense",
                                             "lfm2-dense",    "nemotron_h-dense",
                                             "qwen35-dense",  "qwen35moe-moe"};
  if (unsupported.contains(GetParam())) {
    const auto refused = Engine::open(path.string(), {});
    ASSERT_FALSE(refused);
    const std::string name = GetParam().substr(0, GetParam().rfind('-'));
    EXPECT_NE(refused.error().message.find("'" + name + "'"), std::string::npos)
        << refused.error().message;
    EXPECT_EQ(refused.error().message.find('\n'), std::string::npos);
    return;
  }
  const std::string text = file_text(folder() / (GetParam() + ".logits.safetensors"));
  const std::vector<uint8_t> bytes(text.begin(), text.end());
  const auto stored = trace::parse_safetensors(bytes, GetParam());
  ASSERT_TRUE(stored) << stored.error().message;
  std::vector<float> want;
  std::vector<int32_t> tokens;
  for (const trace::StoredTensor& tensor : stored->tensors) {
    if (tensor.name == "logits") want = *trace::to_f32(tensor);
    if (tensor.name != "tokens") continue;
    tokens.resize(tensor.elements);
    std::memcpy(tokens.data(), tensor.bytes.data(), tensor.bytes.size());
  }
  for (const std::string device : {"reference", "cpu"}) {
    EngineOptions options;
    options.device = device;
    options.executor.cache = op::CacheType::f32;
    if (device == "reference") options.executor.contract = op::Contract::exact;
    auto engine = Engine::open(path.string(), options);
    ASSERT_TRUE(engine) << engine.error().message;
    Sequence sequence = std::move(*engine->start());
    std::vector<float> ours;
    ASSERT_TRUE(engine->feed(sequence, tokens, Wanted::all, [&](auto logits) {
      ours.insert(ours.end(), logits.begin(), logits.end());
    }));
    ASSERT_EQ(ours.size(), want.size());
    double error = 0, size = 0;
    for (size_t i = 0; i < ours.size(); ++i) {
      error += std::pow(double(ours[i]) - double(want[i]), 2);
      size += std::pow(double(want[i]), 2);
    }
    EXPECT_TRUE(error / size <= (device == "reference" ? 1e-9 : 1e-7)) << device << error / size;
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, Shared, ::testing::ValuesIn(Shared::names()),
                         [](const auto& tested) {
                           std::string name = tested.param;
                           for (char& c : name)
                             if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                           return name;
                         });

}  // namespace
}  // namespace assay::run
