#include "device/metal/sentences.h"

#include <fmt/format.h>

#include <algorithm>

namespace assay::metal {

namespace {

/// Without line ends, as a sentence wants it.
std::string one_line(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ' || text.back() == '.'))
    text.remove_suffix(1);
  std::string line(text);
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

std::string_view meaning(Fault fault) {
  switch (fault) {
    case Fault::none:
      return "failed without a reason";
    case Fault::internal:
      return "failed inside Metal";
    case Fault::timeout:
      return "ran longer than the system allows";
    case Fault::page_fault:
      return "touched memory that is not the device's";
    case Fault::access_revoked:
      return "were refused after earlier faults of this process";
    case Fault::not_permitted:
      return "were not permitted: the process has no access to the GPU";
    case Fault::out_of_memory:
      return "found too little memory";
    case Fault::invalid_resource:
      return "used a buffer that is gone";
    case Fault::device_removed:
      return "lost the device: it was removed";
    case Fault::stack_overflow:
      return "overflowed the kernel's stack";
  }
  return "failed with a code that assay does not know";
}

}  // namespace

std::string compile_sentence(std::string_view file, std::string_view printed) {
  // "kernel/norm.h:12:5: error: use of undeclared identifier 'x'"
  constexpr std::string_view mark = ": error: ";
  const size_t found = printed.find(mark);
  if (found == std::string_view::npos)
    return fmt::format("the Metal compiler refused {}: {}", file, one_line(printed));
  const size_t before = printed.rfind('\n', found);
  const size_t begin = before == std::string_view::npos ? 0 : before + 1;
  const std::string_view place = printed.substr(begin, found - begin);
  const std::string_view rest = printed.substr(found + mark.size());
  return fmt::format("the Metal compiler refused {} at {}: {}", file, place,
                     one_line(rest.substr(0, rest.find('\n'))));
}

std::string fault_sentence(std::string_view device, const Outcome& outcome, const Launched& span) {
  const std::string what = span.launches == 0   ? std::string("copies")
                           : span.launches == 1 ? fmt::format("the kernel '{}'", span.first)
                                                : fmt::format("{} kernels from '{}' to '{}'",
                                                              span.launches, span.first, span.last);
  const std::string_view verb = meaning(outcome.fault);
  return fmt::format("{}: commands ({}) {} (Metal's code {}{}{})", device, what, verb,
                     int(outcome.fault), outcome.text.empty() ? "" : ": ", one_line(outcome.text));
}

}  // namespace assay::metal
