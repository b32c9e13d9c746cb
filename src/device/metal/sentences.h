// What Metal reports, as one sentence each.
#pragma once

#include <string>
#include <string_view>

#include "device/metal/calls.h"

namespace assay::metal {

/// `printed` is what the Metal compiler wrote about `file`'s text: its first error, with the source
/// file and line that `#line` gave.
std::string compile_sentence(std::string_view file, std::string_view printed);

/// Which kernels a command buffer held: for people, who cannot know which one of them it was.
struct Launched {
  std::string_view first, last;
  uint32_t launches = 0;
};
std::string fault_sentence(std::string_view device, const Outcome& outcome, const Launched& span);

}  // namespace assay::metal
