// What a template may use up. A template comes from a file and is hostile input: it has loops,
// recursion and string repetition, so only limits bound it.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <utility>

namespace assay::jinja {

struct Limits {
  uint64_t template_bytes = uint64_t{4} << 20;  ///< of the source
  uint64_t parse_depth = 150;  ///< nested parentheses, blocks and operator chains in the source
  /// Work: a node evaluated, a list item made or visited, 16 bytes of text made or 64 compared is a
  /// step.
  uint64_t steps = 10'000'000;
  uint64_t memory_bytes = uint64_t{256} << 20;  ///< of all strings and lists at a time
  uint64_t depth = 600;                         ///< nested evaluations: blocks, calls, recursion
  uint64_t output_bytes = uint64_t{32} << 20;
  uint64_t value_bytes = uint64_t{16} << 20;  ///< of one string
  uint64_t list_items = 1'000'000;            ///< of one list or dict
  uint64_t value_depth = 100;                 ///< lists in lists

  /// For variables of so many bytes (Context::size): what a template does for each message, and
  /// each time looks at all, grows with them.
  Limits grown(uint64_t size) const {
    Limits made = *this;
    made.steps += size * (steps / 10'000);
    made.memory_bytes += size * 64;
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

/// The memory of a rendering's strings, lists and dicts.
struct Meter {
  uint64_t held = 0, most = 0;

  void add(uint64_t bytes) {
    held += bytes;
    if (held > most) {
      fail("the template holds more than the limit of " + std::to_string(most) + " bytes");
    }
  }
};

/// The rendering that values are made for; null outside of one.
inline thread_local Meter* current_meter = nullptr;

/// So many bytes of the current rendering's memory, until it is destroyed.
struct Held {
  Held() = default;
  explicit Held(uint64_t size) : meter(current_meter), bytes(meter ? size : 0) {
    if (meter) meter->add(bytes);
  }
  Held(Held&& other) noexcept : meter(other.meter), bytes(std::exchange(other.bytes, 0)) {}
  Held& operator=(Held&& other) noexcept {
    std::swap(meter, other.meter);
    std::swap(bytes, other.bytes);
    return *this;
  }
  ~Held() {
    if (meter) meter->held -= bytes;
  }
  void grow(uint64_t more) {
    if (!meter) return;
    bytes += more;
    meter->add(more);
  }
  Meter* meter = nullptr;
  uint64_t bytes = 0;
};

}  // namespace assay::jinja
