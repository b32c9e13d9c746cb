#include "model/reader.h"

#include <fmt/format.h>

#include "gguf/reader.h"
#include "quant/formats.h"

namespace assay::model {

Reader::Reader(const gguf::File& file, std::string architecture)
    : file_(file), architecture_(std::move(architecture)) {}

void Reader::fail(std::string message) {
  if (!error_) error_ = Error{std::move(message)};
}

uint32_t Reader::integer_or(std::string_view name, uint64_t low, uint64_t high, uint32_t fallback) {
  const auto found = file_.unsigned_value(key(name));
  if (!found) {
    fail(found.error().message);
    return fallback;
  }
  if (!*found || **found == 0) return fallback;
  if (**found < low || **found > high) {
    fail(fmt::format("{} is {}, outside {} to {}", key(name), **found, low, high));
    return fallback;
  }
  return uint32_t(**found);
}

uint32_t Reader::integer(std::string_view name, uint64_t low, uint64_t high) {
  const uint32_t value = integer_or(name, low, high, 0);
  if (value == 0) fail(fmt::format("{} is missing or zero", key(name)));
  return value;
}

double Reader::real_or(std::string_view name, double low, double high, double fallback) {
  const auto found = file_.real_value(key(name));
  if (!found) {
    fail(found.error().message);
    return fallback;
  }
  if (!*found || **found == 0.0) return fallback;
  if (!(**found >= low && **found <= high)) {
    fail(fmt::format("{} is {}, outside {} to {}", key(name), **found, low, high));
    return fallback;
  }
  return **found;
}

double Reader::real(std::string_view name, double low, double high) {
  const double value = real_or(name, low, high, 0.0);
  if (value == 0.0) fail(fmt::format("{} is missing or zero", key(name)));
  return value;
}

std::string Reader::text_or(std::string_view name, std::string_view fallback) {
  const auto found = file_.string_value(key(name));
  if (!found) {
    fail(found.error().message);
    return std::string(fallback);
  }
  return std::string(found->value_or(fallback));
}

void Reader::refuse(std::string_view name) {
  const gguf::Value* value = file_.find(key(name));
  if (!value) return;
  const bool zero = std::visit(
      [](const auto& data) {
        if constexpr (std::is_arithmetic_v<std::decay_t<decltype(data)>>) return data == 0;
        return false;
      },
      value->data);
  if (!zero)
    fail(
        fmt::format("{} is set, and assay's '{}' does not implement it", key(name), architecture_));
}

op::Weight Reader::matrix(const std::string& name, uint64_t rows, uint64_t columns) {
  const gguf::Tensor* tensor = file_.find_tensor(name);
  used_.insert(name);
  if (!tensor) {
    fail(fmt::format("tensor '{}' is missing (wanted {} x {})", name, columns, rows));
    return {};
  }
  const auto& dims = tensor->dims;
  if (dims[0] != columns || dims[1] != rows || dims[2] != 1 || dims[3] != 1) {
    std::string found = fmt::format("{}", dims[0]);
    for (uint32_t i = 1; i < tensor->n_dims; ++i) found += fmt::format(" x {}", dims[i]);
    fail(fmt::format("tensor '{}' has shape {}, wanted {}{}", name, found, columns,
                     rows == 1 ? "" : fmt::format(" x {}", rows)));
    return {};
  }
  if (quant::info(tensor->type).block_size == 0) {
    fail(fmt::format("tensor '{}' is of type {}, which is not supported; supported: {}", name,
                     gguf::type_name(tensor->type), quant::supported_names()));
    return {};
  }
  return {name, tensor->type, rows, columns, tensor->data};
}

op::Weight Reader::vector(const std::string& name, uint64_t columns) {
  op::Weight weight = matrix(name, 1, columns);
  if (!failed() && weight.type != quant::F32::id)
    fail(fmt::format("tensor '{}' is of type {}, wanted F32", name, gguf::type_name(weight.type)));
  return weight;
}

void Reader::refuse_unused_tensors() {
  for (const gguf::Tensor& tensor : file_.tensors())
    if (!used_.contains(std::string(tensor.name)))
      fail(fmt::format(
          "tensor '{}' is none that assay's '{}' uses: the file's model is another variant",
          gguf::printable(tensor.name), architecture_));
}

}  // namespace assay::model
