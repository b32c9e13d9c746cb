// Reads hyper-parameters and tensors of one file and keeps the first error, so that an architecture
// reads like its list of numbers and tensors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>

#include "base/result.h"
#include "gguf/file.h"
#include "op/program.h"

namespace assay::model {

class Reader {
 public:
  /// Keys are looked up as ARCHITECTURE.name.
  Reader(const gguf::File& file, std::string architecture);

  /// An integer in [low, high]; an error where it is absent or outside.
  uint32_t integer(std::string_view name, uint64_t low, uint64_t high);
  /// The same, `fallback` where absent; zero counts as absent ("not used").
  uint32_t integer_or(std::string_view name, uint64_t low, uint64_t high, uint32_t fallback);
  /// A finite number in [low, high]; `fallback` where absent or zero.
  double real_or(std::string_view name, double low, double high, double fallback);
  double real(std::string_view name, double low, double high);
  std::string text_or(std::string_view name, std::string_view fallback);
  /// An error where the key is there and neither zero nor false: assay does not compute what it
  /// asks for.
  void refuse(std::string_view name);

  bool has_tensor(const std::string& name) const { return file_.find_tensor(name) != nullptr; }
  /// A matrix of `rows` rows and `columns` columns in any supported format.
  op::Weight matrix(const std::string& name, uint64_t rows, uint64_t columns);
  /// An F32 vector, as one row.
  op::Weight vector(const std::string& name, uint64_t columns);
  /// An error where the file holds a tensor that was not asked for.
  void refuse_unused_tensors();

  void fail(std::string message);
  bool failed() const { return error_.has_value(); }
  const Error& error() const { return *error_; }

 private:
  std::string key(std::string_view name) const { return architecture_ + "." + std::string(name); }

  const gguf::File& file_;
  std::string architecture_;
  std::unordered_set<std::string> used_;
  std::optional<Error> error_;
};

}  // namespace assay::model
