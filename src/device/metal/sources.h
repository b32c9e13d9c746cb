// The kernels' text as it stands in the program, made when it was built.
#pragma once

#include <span>
#include <string_view>

namespace assay::metal {

/// A file of src/kernel with its includes put in and `#line` where the text came from.
struct KernelFile {
  std::string_view name;                      ///< "kernel/norm.h"
  std::string_view text;                      ///< ends with a NUL that is not counted
  std::span<const std::string_view> kernels;  ///< the entries that this file itself defines
};

std::span<const KernelFile> kernel_files();

}  // namespace assay::metal
