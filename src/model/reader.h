// Reads hyper-parameters and tensors of one file and keeps the first error, so that an architecture
// reads like its list of numbers and tensors.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "gguf/file.h"
#include "model/architecture.h"
#include "op/program.h"

namespace assay::model {

class Reader {
 public:
  /// Keys are looked up as ARCHITECTURE.name, or as "name" where it is given as ".name". The table
  /// (keys.h) must say that they are read: std::logic_error otherwise.
  Reader(const gguf::File& file, const Architecture& architecture);

  bool has_key(std::string_view name) const { return file_.find(key(name)) != nullptr; }
  /// True where a list of integers has unequal elements.
  bool varies(std::string_view name) const;
  /// An integer in [low, high]; an error where it is absent or outside.
  uint32_t integer(std::string_view name, uint64_t low, uint64_t high);
  /// The same, `fallback` where absent.
  uint32_t integer_or(std::string_view name, uint64_t low, uint64_t high, uint32_t fallback);
  /// The same of a key that may be a list with an element for each of `blocks` blocks: its first.
  uint32_t first_of_blocks(std::string_view name, uint64_t low, uint64_t high, uint32_t blocks,
                           std::optional<uint32_t> fallback);
  /// All elements of such a list; a plain number is that of every block.
  std::vector<uint32_t> each_of_blocks(std::string_view name, uint64_t low, uint64_t high,
                                       uint32_t blocks, std::optional<uint32_t> fallback);
  /// The same of real numbers.
  std::vector<float> reals_of_blocks(std::string_view name, double low, double high,
                                     uint32_t blocks, double fallback);
  bool is_list(std::string_view name) const;
  /// The elements of a list of integers or truths; none where the key is absent or no list.
  std::vector<uint32_t> list(std::string_view name, uint64_t high);
  /// A finite number in [low, high]; `fallback` where absent.
  double real_or(std::string_view name, double low, double high, double fallback);
  double real(std::string_view name, double low, double high);
  /// The same of a number that may be 0 to switch a feature off: `off` where absent or 0.
  double real_or_off(std::string_view name, double low, double high, double off);
  bool flag_or(std::string_view name, bool fallback);
  bool flag(std::string_view name);
  std::string text_or(std::string_view name, std::string_view fallback);

  bool has_tensor(const std::string& name) const { return file_.find_tensor(name) != nullptr; }
  /// The rows of a matrix; 0 where it is absent.
  uint64_t rows_of(const std::string& name) const {
    const gguf::Tensor* tensor = file_.find_tensor(name);
    return tensor ? tensor->dims[1] : 0;
  }
  /// A matrix of `rows` rows and `columns` columns in any supported format.
  op::Weight matrix(const std::string& name, uint64_t rows, uint64_t columns);
  /// The same of each expert, one after another: (columns, rows, experts) in the file.
  op::Weight experts(const std::string& name, uint64_t experts, uint64_t rows, uint64_t columns);
  /// An F32 vector, as one row.
  op::Weight vector(const std::string& name, uint64_t columns);
  /// An F32 vector, decoded.
  std::vector<float> values(const std::string& name, uint64_t count);
  /// Says that a tensor is legal here, without reading it.
  void accept_tensor(const std::string& name) { used_.insert(name); }
  /// The same of all that a pattern stands for, with one '*' at most.
  void accept_tensors(std::string_view pattern);
  /// An error where the file holds a tensor that was not asked for.
  void refuse_unused_tensors();

  void fail(std::string message);
  bool failed() const { return error_.has_value(); }
  const Error& error() const { return *error_; }
  /// ARCHITECTURE.name
  std::string key(std::string_view name) const;

 private:
  /// The key, after the table was asked whether it is read.
  std::string key_to_read(std::string_view name) const;
  uint32_t checked(std::string_view name, uint64_t value, uint64_t low, uint64_t high);
  double checked_real(std::string_view name, double value, double low, double high,
                      double fallback);
  /// The list of this name that has an element for each block; nullptr, and an error unless it is no
  /// list.
  const gguf::Array* list_of_blocks(std::string_view name, uint32_t blocks);
  op::Weight tensor(const std::string& name, std::array<uint64_t, 3> shape);

  const gguf::File& file_;
  const Architecture& architecture_;
  std::unordered_set<std::string> used_;
  std::optional<Error> error_;
};

}  // namespace assay::model
