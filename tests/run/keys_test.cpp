// The table of keys against llama.cpp: every key that it reads or ignores, changed in a tiny file.
// Stored are llama.cpp's logits and refusals (tests/data/keys.safetensors, made by
// tests/keys/make_logits.py); ours come from the reference.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "model/keys.h"
#include "run/device.h"
#include "run/key_cases.h"
#include "trace/safetensors_file.h"

namespace assay::run {
namespace {

using tests::KeyCase;
using tests::Runs;

constexpr int32_t prompt[] = {1, 17, 39, 9, 7, 24, 3, 30, 15, 8, 31, 37, 21, 5, 23, 2};

const std::vector<KeyCase>& cases() {
  static const tests::KeyCases made;
  return made.all();
}

constexpr uint32_t stored_positions[] = {3, 9, 15};

/// The logits of the stored positions by llama.cpp's reading (what departs from it is in
/// tests/model/departures_test.cpp), or nothing where the file is refused.
std::vector<float> logits_of(const KeyCase& one, std::string& refusal) {
  const std::vector<uint8_t> bytes = one.file.bytes();
  const auto file = gguf::File::parse(bytes, "case.gguf");
  if (!file) {
    refusal = file.error().message;
    return {};
  }
  const auto program = model::build(*file, 0, model::Reading::llama_cpp);
  if (!program) {
    refusal = program.error().message;
    return {};
  }
  op::ExecutorOptions options;
  options.context = program->context;
  options.cache = op::CacheType::f32;
  options.contract = op::Contract::exact;
  auto executor = make_executor("reference", *program, options);
  if (!executor) throw std::runtime_error(executor.error().message);
  constexpr uint32_t count = std::size(prompt);
  std::vector<uint32_t> positions, sequences(count, 0);
  for (uint32_t i = 0; i < count; ++i) positions.push_back(i);
  const auto logits = (*executor)->run({prompt, positions, sequences, stored_positions}, {});
  return {logits.begin(), logits.end()};
}

/// llama.cpp's side: for each case the name of a tensor with its logits, or "refused: …".
class Stored {
 public:
  Stored() {
    std::ifstream in(ASSAY_SOURCE_DIR "/tests/data/keys.safetensors", std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(in), {});
    auto parsed = trace::parse_safetensors(bytes_, "keys.safetensors");
    if (!parsed) throw std::runtime_error(parsed.error().message);
    tensors_ = std::move(*parsed);
  }
  bool knows(const std::string& name) const { return tensors_.metadata.contains(name); }
  const std::string& outcome(const std::string& name) const { return tensors_.metadata.at(name); }
  std::vector<float> logits(const std::string& name) const {
    const trace::StoredTensor* tensor = tensors_.find(outcome(name));
    return tensor ? *trace::to_f32(*tensor) : std::vector<float>();
  }
  size_t size() const { return tensors_.metadata.size(); }

 private:
  std::vector<uint8_t> bytes_;
  trace::SafeTensors tensors_;
};

double relative_error(const std::vector<float>& ours, const std::vector<float>& want) {
  double error = 0, size = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    error += std::pow(double(ours[i]) - double(want[i]), 2);
    size += std::pow(double(want[i]), 2);
  }
  return std::sqrt(error / size);
}

TEST(KeyTable, MeansWhatLlamaCppMakesOfIt) {
  // make_logits.py asks for the files.
  const char* folder = std::getenv("ASSAY_KEY_FILES");
  std::ofstream list;
  if (folder) list.open(std::filesystem::path(folder) / "list.txt");
  for (size_t i = 0; folder && i < cases().size(); ++i) {
    const std::vector<uint8_t> bytes = cases()[i].file.bytes();
    std::ofstream(std::filesystem::path(folder) / tests::file_of(i), std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
    list << cases()[i].name << "\n";
  }
  if (folder) return;

  const Stored stored;
  size_t agree = 0;
  for (const KeyCase& one : cases()) {
    SCOPED_TRACE(one.name);
    ASSERT_TRUE(stored.knows(one.name)) << "run tests/keys/make_logits.py";
    std::string refusal;
    const std::vector<float> ours = logits_of(one, refusal), theirs = stored.logits(one.name);
    const bool we_run = one.runs == Runs::both || one.runs == Runs::ours;
    const bool they_run = one.runs == Runs::both || one.runs == Runs::theirs;
    EXPECT_EQ(!ours.empty(), we_run) << refusal;
    EXPECT_EQ(!theirs.empty(), they_run) << stored.outcome(one.name);
    EXPECT_EQ(refusal.find('\n'), refusal.npos);
    for (const float logit : ours) ASSERT_TRUE(std::isfinite(logit));
    if (ours.empty() || theirs.empty()) continue;
    ASSERT_EQ(ours.size(), theirs.size());
    // f32 sums there, f64 here: 1e-6 measured. llama.cpp's CPU takes GELU, which Gemma has, from a
    // table of f16: 1e-4 measured.
    const double limit = one.file.architecture.starts_with("gemma") ? 3e-4 : 1e-5;
    EXPECT_TRUE(relative_error(ours, theirs) <= limit) << relative_error(ours, theirs);
    ++agree;
  }
  EXPECT_EQ(stored.size(), cases().size()) << "a stored case is gone";
  EXPECT_GT(agree, 400u);
}

TEST(KeyTable, HasACaseForEveryRow) {
  for (const model::KeyRow& row : model::common_keys()) {
    bool tried = false;
    for (const KeyCase& one : cases())
      for (const auto& [key, value] : one.file.keys) {
        const std::string prefix = one.file.architecture + ".";
        // A name that begins with a point has no architecture before it.
        const std::string name = key.starts_with(prefix) ? key.substr(prefix.size()) : "." + key;
        const model::KeyRow* found = model::find_key(name, {});
        tried = tried || (found && found->name == row.name);
      }
    EXPECT_TRUE(tried) << row.name;
  }
}

// The comparison sees a wrong number: a key that is read changes llama.cpp's logits by far more
// than the limit.
TEST(KeyTable, KeysThatAreReadShow) {
  const Stored stored;
  for (const char* architecture : {"llama", "qwen2", "qwen3", "phi3"}) {
    const std::string of = std::string(architecture) + ": ";
    const std::vector<float> plain = stored.logits(of + "plain");
    for (const char* change :
         {"attention.layer_norm_rms_epsilon = 0.001", "rope.freq_base = 500",
          "rope.scaling.factor = 4", "rope.scale_linear = 4", "rope.scaling.attn_factor = 1.5",
          "rope.scaling.type = yarn, factor 4.000000",
          "yarn, rope.scaling.original_context_length = 16"}) {
      const std::vector<float> changed = stored.logits(of + change);
      ASSERT_EQ(changed.size(), plain.size()) << of << change;
      EXPECT_GT(relative_error(changed, plain), 1e-3) << of << change;
    }
    for (const char* same : {"attention.scale = 0.5", "logit_scale = 3", "attention.causal = true",
                             "rope.scaling.factor = 1"})
      EXPECT_EQ(stored.logits(of + same), plain) << of << same;
  }
}

}  // namespace
}  // namespace assay::run
