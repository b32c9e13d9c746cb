// A value or one clear sentence. For what a file, a user or a machine can get wrong; programming
// errors assert.
#pragma once

#include <string>
#include <utility>
#include <variant>

namespace assay {

/// Exit codes promised by the command line.
enum class Exit : int {
  done = 0,      ///< done, or agree
  negative = 1,  ///< a negative verdict: FAIL, diverged, bits differ
  cannot = 2,    ///< usage, bad file, unsupported, unequal inputs
  device = 3,    ///< device or memory
  interrupted = 130
};

struct Error {
  std::string message;  ///< one sentence, no newline at the end
  Exit exit = Exit::cannot;
};

/// Holds a T or an Error. `if (!result) return result.error();`
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  explicit operator bool() const { return state_.index() == 0; }
  T& operator*() { return std::get<0>(state_); }
  const T& operator*() const { return std::get<0>(state_); }
  T* operator->() { return &std::get<0>(state_); }
  const T* operator->() const { return &std::get<0>(state_); }
  const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

/// Success without a value, or an Error.
using Status = Result<std::monostate>;
inline Status ok() {
  return Status(std::monostate{});
}

}  // namespace assay
