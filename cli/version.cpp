#include "version.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <thread>

#include "common.h"
#include "device/cuda/queue.h"
#include "device/metal/queue.h"
#include "run/device.h"

namespace {

std::string line(std::string_view name, const std::string& what) {
  return fmt::format("  {:<10} {}\n", name, what);
}

}  // namespace

std::string version_text() {
  std::string text =
      fmt::format("assay " ASSAY_VERSION ", contract assay/1\ncommit {}\ndevices:\n", commit());
  text += line("cpu", fmt::format("{}: {}; {} threads", cpu_name(),
                                  fmt::join(assay::run::instruction_sets("cpu"), ", "),
                                  std::max(1u, std::thread::hardware_concurrency())));
  if (const auto gpus = assay::device::cuda_devices()) {
    for (size_t i = 0; i < gpus->size(); ++i) {
      const auto& gpu = (*gpus)[i];
      const bool old = gpu.capability < assay::device::lowest_cuda_capability;
      text += line(i == 0 ? "cuda" : fmt::format("cuda:{}", i),
                   fmt::format("{}, {:.0f} GB{}", gpu.name, double(gpu.memory) / 1e9,
                               old ? ": too old for assay" : ""));
    }
  } else {
    text += line("cuda", "not available: " + gpus.error().message);
  }
  const auto metal = assay::metal::make_metal_queue();
  text += line("metal", metal ? "Apple's GPU" : "not available: " + metal.error().message);
  text += line("emulated", "a GPU's kernels on this machine's cores");
  text += line("reference", "the f64 judge");
  text.pop_back();  // the parser ends the text
  return text;
}
