#include "device/emulated/kernels.h"

#include <map>

#include "kernel/list.h"

namespace assay {

namespace {

// A name that is there twice is a mistake that tests see.
std::multimap<std::string_view, const KernelEntry*>& table() {
  static std::multimap<std::string_view, const KernelEntry*> kernels;
  return kernels;
}

}  // namespace

KernelEntry::KernelEntry(const char* kernel_name, uint32_t args, uint32_t shared, uint32_t most,
                         bool takes_exactly, bool begins_early, Body function)
    : name(kernel_name),
      args_bytes(args),
      shared_bytes(shared),
      most_threads(most),
      exactly(takes_exactly),
      early(begins_early),
      body(function) {
  table().emplace(name, this);
}

namespace emulated {

const KernelEntry* find_kernel(std::string_view name) {
  const auto found = table().find(name);
  return found == table().end() ? nullptr : found->second;
}

std::vector<const KernelEntry*> all_kernels() {
  std::vector<const KernelEntry*> kernels;
  for (const auto& [name, entry] : table()) kernels.push_back(entry);
  return kernels;
}

}  // namespace emulated
}  // namespace assay
