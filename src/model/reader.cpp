#include "model/reader.h"

#include <fmt/format.h>

#include <stdexcept>

#include "gguf/reader.h"
#include "quant/formats.h"

namespace assay::model {

Reader::Reader(const gguf::File& file, const Architecture& architecture)
    : file_(file), architecture_(architecture) {}

void Reader::fail(std::string message) {
  if (!error_) error_ = Error{std::move(message)};
}

std::string Reader::key(std::string_view name) const {
  return std::string(architecture_.name) + "." + std::string(name);
}

std::string Reader::key_to_read(std::string_view name) const {
  const KeyRow* row = find_key(name, {});
  if (!row || row->use != Use::read)
    throw std::logic_error("the table of keys does not say that '" + std::string(name) +
                           "' is read");
  return key(name);
}

uint32_t Reader::checked(std::string_view name, uint64_t value, uint64_t low, uint64_t high) {
  if (value < low || value > high) {
    fail(fmt::format("{} is {}, outside {} to {}", key(name), value, low, high));
    return uint32_t(low);
  }
  return uint32_t(value);
}

uint32_t Reader::integer_or(std::string_view name, uint64_t low, uint64_t high, uint32_t fallback) {
  const auto found = file_.unsigned_value(key_to_read(name));
  if (!found) {
    fail(found.error().message);
    return fallback;
  }
  return *found ? checked(name, **found, low, high) : fallback;
}

uint32_t Reader::integer(std::string_view name, uint64_t low, uint64_t high) {
  return first_of_blocks(name, low, high, 0, {});
}

uint32_t Reader::first_of_blocks(std::string_view name, uint64_t low, uint64_t high,
                                 uint32_t blocks, std::optional<uint32_t> fallback) {
  const gguf::Value* value = file_.find(key_to_read(name));
  if (!value) {
    if (!fallback) fail(fmt::format("{} is missing", key(name)));
    return fallback.value_or(uint32_t(low));
  }
  const auto* list = std::get_if<gguf::Array>(&value->data);
  if (!list || blocks == 0) return integer_or(name, low, high, 0);
  using enum gguf::ValueType;
  const bool integers = list->type != f32 && list->type != f64 && list->type != string &&
                        list->type != boolean && list->type != array;
  if (!integers || list->count != blocks || list->integer(0) < 0) {
    fail(fmt::format("{} is a list that does not give a count for each of {} blocks", key(name),
                     blocks));
    return uint32_t(low);
  }
  return checked(name, uint64_t(list->integer(0)), low, high);
}

bool Reader::varies(std::string_view name) const {
  const gguf::Value* value = file_.find(key_to_read(name));
  const auto* list = value ? std::get_if<gguf::Array>(&value->data) : nullptr;
  for (uint64_t i = 1; list && i < list->count; ++i)
    if (list->integer(i) != list->integer(0)) return true;
  return false;
}

double Reader::real_or(std::string_view name, double low, double high, double fallback) {
  const auto found = file_.real_value(key_to_read(name));
  if (!found) {
    fail(found.error().message);
    return fallback;
  }
  if (!*found) return fallback;
  if (!(**found >= low && **found <= high)) {
    fail(fmt::format("{} is {}, outside {} to {}", key(name), **found, low, high));
    return fallback;
  }
  return **found;
}

double Reader::real(std::string_view name, double low, double high) {
  if (!file_.find(key_to_read(name))) fail(fmt::format("{} is missing", key(name)));
  return real_or(name, low, high, low);
}

double Reader::real_or_off(std::string_view name, double low, double high, double off) {
  const auto found = file_.real_value(key_to_read(name));
  return found && *found && **found == 0.0 ? off : real_or(name, low, high, off);
}

bool Reader::flag_or(std::string_view name, bool fallback) {
  const auto found = file_.bool_value(key_to_read(name));
  if (!found) fail(found.error().message);
  return found ? found->value_or(fallback) : fallback;
}

std::string Reader::text_or(std::string_view name, std::string_view fallback) {
  const auto found = file_.string_value(key_to_read(name));
  if (!found) {
    fail(found.error().message);
    return std::string(fallback);
  }
  return std::string(found->value_or(fallback));
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

std::vector<float> Reader::values(const std::string& name, uint64_t count) {
  const op::Weight weight = vector(name, count);
  if (failed()) return {};
  std::vector<float> values(count);
  quant::decode_row(weight.type, weight.data, values);
  return values;
}

void Reader::refuse_unused_tensors() {
  for (const gguf::Tensor& tensor : file_.tensors())
    if (!used_.contains(std::string(tensor.name)))
      fail(
          fmt::format("tensor '{}' is not used by the '{}' architecture; this file is probably a "
                      "variant that assay does not support",
                      gguf::printable(tensor.name), architecture_.name));
}

}  // namespace assay::model
