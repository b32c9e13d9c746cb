#include "run/device.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "cpu/executor.h"
#include "cpu/kernels.h"
#include "device/cuda/queue.h"
#include "device/emulated/queue.h"
#include "device/metal/queue.h"
#include "gpu/executor.h"
#include "reference/executor.h"

namespace assay::run {

namespace {

/// Of "cuda" 0, of "cuda:1" 1; nothing for another device's name.
std::optional<uint32_t> cuda_index(std::string_view device) {
  if (!device.starts_with("cuda")) return {};
  device.remove_prefix(4);
  if (device.empty()) return 0;
  uint32_t index = 0;
  const auto [end, error] =
      std::from_chars(device.data() + 1, device.data() + device.size(), index);
  const bool whole = error == std::errc() && end == device.data() + device.size();
  if (device[0] != ':' || !whole) return {};
  return index;
}

}  // namespace

Result<std::unique_ptr<op::Executor>> make_executor(const std::string& device,
                                                    const op::Program& program,
                                                    const op::ExecutorOptions& options) {
  const bool exact = options.contract == op::Contract::exact;
  if (device == "cpu" && exact)
    return Error{
        "the cpu does not run the contract 'exact' (only the reference does); it runs assay/1 and "
        "f32"};
  if (device == "cpu") return cpu::make_executor(program, options);
  if (device == "reference")
    return reference::make_executor(program, options,
                                    exact ? reference::Mode::exact : reference::Mode::contract);
  auto queue = make_queue(device);
  if (!queue) return queue.error();
  return gpu::make_executor(device, std::move(*queue), program, options);
}

Choice choose_device() {
  const auto gpus = device::cuda_devices();
  for (size_t i = 0; gpus && i < gpus->size(); ++i)
    if ((*gpus)[i].capability >= device::lowest_cuda_capability)
      return {i == 0 ? "cuda" : fmt::format("cuda:{}", i), ""};
  const auto metal = metal::make_metal_queue();
  if (metal) return {"metal", ""};
  return {"cpu", (gpus ? gpus->front().name + " is too old" : gpus.error().message) + "; " +
                     metal.error().message};
}

Result<std::unique_ptr<device::Queue>> make_queue(const std::string& device) {
  if (device == "emulated") return emulated::make_queue({});
  if (const auto index = cuda_index(device)) return device::make_cuda_queue(*index);
  if (device == "metal") return metal::make_metal_queue();
  return Error{fmt::format("unknown device '{}'; known: {}", device, device_names()), Exit::device};
}

std::string device_names() {
  return "auto (a GPU where there is one), cpu, cuda or cuda:N (an NVIDIA GPU), metal (Apple's "
         "GPU), emulated (a GPU's kernels on "
         "this "
         "machine's cores), reference (the f64 judge)";
}

std::vector<std::string> instruction_sets(std::string_view device) {
  std::vector<std::string> names;
  if (device != "cpu") return names;
  for (const char* name : {"portable", "avx2", "avx512"})
    if (cpu::find_kernels(name)) names.emplace_back(name);
  return names;
}

}  // namespace assay::run
