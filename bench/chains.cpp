// assay-chains: two candidate orders of sums for Q4_K, A and A2 (formulas in chains_contract.h).
//   assay-chains                 speed of both, one thread, AVX2 and AVX-512, shapes of TinyLlama
//   assay-chains --error MODEL   error of both on a model's weights and activations
// Both chains run in the same tiles over the same packed weights, by turns; every timed result is
// compared with the plain code's bits.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstring>
#include <ctime>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include "base/mix64.h"
#include "chains_contract.h"
#include "chains_error.h"
#include "chains_simd.h"

namespace {

using namespace assay;
using namespace assay::bench;

struct Shape {
  uint64_t rows, columns;
};
/// TinyLlama's k and v (in L2 cache: no memory but the chain), q and output, gate and up, down.
constexpr std::array shapes = {Shape{256, 2048}, Shape{2048, 2048}, Shape{5632, 2048},
                               Shape{2048, 5632}};
constexpr uint64_t batch = 48;  // rows of activations: a multiple of 4 and of 6

struct InstructionSet {
  const char* name;
  std::array<MatmulOfWidth, variants.size()> matmuls;
};

/// Seconds this thread has run: what other programs take does not count.
double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown CPU";
}

struct Random {
  uint64_t state;
  uint64_t next() { return assay::splitmix64(state); }
  /// Uniform in -1 … 1.
  float signed_unit() { return float(int64_t(next()) >> 24) * 0x1p-39f; }
};

/// Random blocks: any codes, scales that are normal f16 of either sign.
std::vector<uint8_t> random_weights(const Shape& shape, Random& random) {
  std::vector<uint8_t> bytes(shape.rows * shape.columns / chunk * Format::block_bytes);
  for (uint8_t& byte : bytes) byte = uint8_t(random.next());
  for (size_t block = 0; block < bytes.size(); block += Format::block_bytes)
    for (size_t i = 0; i < 4; i += 2) {
      const uint16_t half = k_f32_to_f16(0.01f * random.signed_unit());
      std::memcpy(&bytes[block + i], &half, 2);
    }
  return bytes;
}

/// Activations whose groups differ in size by up to 2^8.
std::vector<float> random_activations(uint64_t count, Random& random) {
  std::vector<float> x(count);
  for (size_t i = 0, shift = 0; i < count; ++i) {
    if (i % cpu::quantum == 0) shift = random.next() % 9;
    x[i] = random.signed_unit() / float(1u << shift);
  }
  return x;
}

/// The packed panels with the parts of each block moved to Layout::aligned.
cpu::Panels align_blocks(const op::Weight& weight, const cpu::Panels& packed, Chain chain) {
  cpu::Panels moved = cpu::allocate_panels(weight);
  const BlockLayout from = block_layout(Layout::panel), to = block_layout(Layout::aligned);
  for (uint64_t i = 0; i < packed.count() * packed.panel_bytes; i += block_bytes) {
    const uint8_t* source = packed.data.get() + i;
    uint8_t* target = moved.data.get() + i;
    std::memcpy(target, source, Packed::block_bytes);
    for (uint32_t g = 0; g < groups; ++g) {
      std::memcpy(target + to.codes + g * to.codes_step, source + from.codes + g * from.codes_step,
                  Packed::code_bytes);
      std::memcpy(target + to.scales + g * to.scales_step,
                  source + from.scales + g * from.scales_step, cpu::panel_rows);
      const uint8_t* minima = source + from.minima + g * from.scales_step;
      for (uint32_t r = 0; r < cpu::panel_rows; ++r)
        target[to.minima + (chain == Chain::a ? g * to.scales_step + r
                                              : g / 2 * 2 * to.scales_step + 2 * r + g % 2)] =
            minima[r];
    }
  }
  return moved;
}

/// One shape's weights in each variant's layout, activations, and the plain code's answers. Every
/// variant has its own copy, so that none finds its weights in cache because another has just read
/// them.
struct Case {
  Shape shape;
  std::vector<uint8_t> bytes;
  std::vector<cpu::Panels> panels;  // by variant
  Activations x;
  std::array<std::vector<float>, 2> expected;  // by chain: (batch, rows)
};

Case make_case(const Shape& shape, Random& random) {
  Case made{shape, random_weights(shape, random), {}, {}, {}};
  op::Weight weight{"w", Format::id, shape.rows, shape.columns, made.bytes};
  for (const Variant& variant : variants) {
    cpu::Panels panels = cpu::allocate_panels(weight);
    cpu::pack(weight, panels, 0, panels.count());
    made.panels.push_back(variant.layout == Layout::panel
                              ? std::move(panels)
                              : align_blocks(weight, panels, variant.chain));
  }
  made.x = quantise(random_activations(batch * shape.columns, random), shape.columns);
  for (auto& values : made.expected) values.resize(batch * shape.rows);
  std::vector<int32_t> dot;
  for (uint64_t r = 0; r < shape.rows; ++r) {
    const WeightRow row = unpack(weight.row(r).data(), shape.columns);
    for (uint64_t c = 0; c < batch; ++c) {
      dots(row, made.x.rows[c].quantised.codes, dot);
      const std::array<float, 2> y = restate(row, made.x.rows[c], dot);
      for (size_t chain = 0; chain < 2; ++chain)
        made.expected[chain][c * shape.rows + r] = y[chain];
    }
  }
  return made;
}

/// True where the shipped kernel gives chain A's bits.
bool shipped_agrees(const char* isa, const Case& test) {
  const cpu::Kernels* kernels = cpu::find_kernels(isa);
  std::vector<cpu::QuantisedRow> x;
  for (const Row& row : test.x.rows) x.push_back(row.quantised);
  std::vector<float> y(batch * test.shape.rows);
  const cpu::Panels& panels = test.panels[0];
  kernels->matmul(Format::id, panels.data.get(), panels.panel_bytes, test.shape.rows,
                  test.shape.columns, 0, panels.count(), x.data(), uint32_t(batch), nullptr,
                  y.data(), test.shape.rows);
  return std::memcmp(y.data(), test.expected[0].data(), y.size() * sizeof(float)) == 0;
}

/// Seconds of each round of each variant, the variants in random order.
struct Times {
  std::array<std::vector<double>, variants.size()> seconds;
  bool bits_equal = true;
};

Times measure(const InstructionSet& isa, const Case& test, size_t width, int rounds) {
  const Shape& shape = test.shape;
  const uint64_t count = widths[width] == 1 ? 1 : batch;
  // At least 60 million multiply-and-adds a round: about a millisecond.
  const int calls = int(60'000'000 / (shape.rows * shape.columns * count)) + 1;
  std::vector<float> y(count * shape.rows);
  Times times;
  std::array<size_t, variants.size()> order;
  std::iota(order.begin(), order.end(), size_t(0));
  Random random{2};
  for (int round = 0; round < rounds; ++round) {
    // In a new random order each round: with a fixed one the same variant would always find more of
    // its weights in the last cache.
    for (size_t i = order.size() - 1; i > 0; --i)
      std::swap(order[i], order[random.next() % (i + 1)]);
    for (const size_t variant : order) {
      double start = 0;
      for (int call = -1; call < calls; ++call) {  // call -1 is not timed: it brings data to cache
        if (call == 0) start = thread_seconds();
        isa.matmuls[variant][width](test.panels[variant].data.get(), shape.rows,
                                    shape.columns / chunk, test.x.rows.data(), count, y.data());
      }
      times.seconds[variant].push_back((thread_seconds() - start) / calls);
      const std::vector<float>& expected = test.expected[size_t(variants[variant].chain)];
      times.bits_equal =
          times.bits_equal && std::memcmp(y.data(), expected.data(), y.size() * sizeof(float)) == 0;
    }
  }
  return times;
}

/// Over rounds, time(A) / time(A2) - 1 in percent: median, and the quartiles. Both are
/// of one round, so that a machine's mood cancels.
std::string gain(const std::vector<double>& a, const std::vector<double>& a2) {
  std::vector<double> ratio;
  for (size_t i = 0; i < a.size(); ++i) ratio.push_back(100 * (a[i] / a2[i] - 1));
  std::sort(ratio.begin(), ratio.end());
  const size_t n = ratio.size();
  return fmt::format("{:+.1f} ({:+.1f} … {:+.1f})", ratio[n / 2], ratio[n / 4], ratio[3 * n / 4]);
}

bool print_row(const InstructionSet& isa, const Case& test, size_t width, int rounds) {
  const Times times = measure(isa, test, width, rounds);
  const uint64_t count = widths[width] == 1 ? 1 : batch;
  const double operations = 2.0 * double(test.shape.rows * test.shape.columns * count);
  std::string line =
      fmt::format("| {} | {}×{} | {} × {} |", isa.name, test.shape.rows, test.shape.columns,
                  count / uint64_t(widths[width]), widths[width]);
  for (size_t first = 0; first < variants.size(); first += 2) {
    for (size_t i = first; i < first + 2; ++i)
      line += fmt::format(
          " {:.1f} |",
          operations / 1e9 / *std::min_element(times.seconds[i].begin(), times.seconds[i].end()));
    line += fmt::format(" {} |", gain(times.seconds[first], times.seconds[first + 1]));
  }
  fmt::print("{} {} |\n", line, times.bits_equal ? "equal" : "DIFFER");
  std::fflush(stdout);
  return times.bits_equal;
}

int speed(int rounds) {
  std::vector<InstructionSet> sets;
#if defined(__x86_64__)
  if (cpu::find_kernels("avx2")) sets.push_back({"avx2", avx2::matmuls});
  if (cpu::find_kernels("avx512")) sets.push_back({"avx512", avx512::matmuls});
#endif
  fmt::print(
      "{}; 1 thread; Gop/s, 2 operations a multiply-and-add; best of {} rounds, variants in "
      "random order.\ngain %: time(A)/time(A2) - 1, median of the rounds (quartiles). aligned: the "
      "same bytes, scales before codes.\n\n",
      cpu_name(), rounds);
  fmt::print(
      "| ISA | rows×columns | tiles × width | A | A2 | gain % | A, aligned | A2, aligned | gain % "
      "| bits |\n|---|---|---|---|---|---|---|---|---|---|\n");
  Random random{1};
  bool equal = true;
  for (const Shape& shape : shapes) {
    const Case test = make_case(shape, random);
    for (const InstructionSet& isa : sets) {
      if (!shipped_agrees(isa.name, test)) {
        fmt::print("{}: the kernel in src/cpu does not give chain A's bits\n", isa.name);
        equal = false;
      }
      for (size_t width = 0; width < widths.size(); ++width)
        equal = print_row(isa, test, width, rounds) && equal;
    }
  }
  for (const char* name : {"avx2", "avx512"})
    if (!cpu::find_kernels(name)) fmt::print("\n{}: not measured, this CPU lacks it\n", name);
  return equal ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
  CLI::App app{"Speed and error of the chains A and A2 for Q4_K"};
  std::string model;
  int rounds = 50;
  app.add_option("--error", model, "measure errors on this model (GGUF) instead of speed");
  app.add_option("--rounds", rounds, "timed rounds of each variant")->check(CLI::Range(1, 100000));
  CLI11_PARSE(app, count, arguments);
  if (model.empty()) return speed(rounds);
  const Result<std::string> table = error_tables(model);
  if (!table) {
    fmt::print(stderr, "assay-chains: {}\n", table.error().message);
    return int(table.error().exit);
  }
  fmt::print("{}", *table);
  return 0;
}
