// What a template may use up. A template comes from a file and is hostile input: it has loops,
// recursion and string repetition, so only limits bound it.
#pragma once

#include <cstdint>
#include <exception>
#include <string>

namespace assay::jinja {

struct Limits {
  uint64_t template_bytes = uint64_t{4} << 20;  ///< of the source
  uint64_t parse_depth = 150;  ///< nested parentheses, blocks and operator chains in the source
  /// Work: a node evaluated, a list item made or visited, 16 bytes of text made or 64 compared is a
  /// step. It also bounds memory, since nothing is made without steps: at most 160 MB of text.
  uint64_t steps = 10'000'000;
  uint64_t depth = 600;  ///< nested evaluations: blocks, calls, recursion
  uint64_t output_bytes = uint64_t{32} << 20;
  uint64_t value_bytes = uint64_t{16} << 20;  ///< of one string
  uint64_t list_items = 1'000'000;            ///< of one list or dict
  uint64_t value_depth = 100;                 ///< lists in lists

  /// For variables of so many bytes (Context::size): what a template does for each message, and
  /// each time looks at all, grows with them.
  Limits grown(uint64_t size) const {
    Limits made = *this;
    made.steps += size * (steps / 10'000);
    made.output_bytes += size * 8;
    made.value_bytes += size * 8;
    made.list_items += size;
    return made;
  }
};

/// range() of more is an error, as in Jinja's sandbox.
inline constexpr uint64_t longest_range = 100'000;

/// Where something stands in a template's source, from 1 on; line 0: not known.
struct Place {
  uint32_t line = 0, column = 0;  ///< columns in characters
};

/// Carries an error out of the interpreter; never leaves Template::compile and Template::render.
struct Failure : std::exception {
  Failure(std::string text, Place at) : message(std::move(text)), place(at) {}
  const char* what() const noexcept override { return message.c_str(); }
  std::string message;
  Place place;  ///< line 0 where the raiser doesn't know it
};

[[noreturn]] inline void fail(std::string message, Place place = {}) {
  throw Failure(std::move(message), place);
}

}  // namespace assay::jinja
