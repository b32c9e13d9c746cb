#include "model/reader.h"

#include <fmt/format.h>

#include <algorithm>
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
  if (name.starts_with('.')) return std::string(name.substr(1));
  return std::string(architecture_.name) + "." + std::string(name);
}

std::string Reader::key_to_read(std::string_view name) const {
  const KeyRow* row = find_key(name, {});
  if (!row || (row->use != Use::read && row->use != Use::by_trait))
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

bool Reader::is_list(std::string_view name) const {
  const gguf::Value* value = file_.find(key_to_read(name));
  return value && std::holds_alternative<gguf::Array>(value->data);
}

namespace {

bool is_real(const gguf::Array& list) {
  return list.type == gguf::ValueType::f32 || list.type == gguf::ValueType::f64;
}
bool is_integer(const gguf::Array& list) {
  using enum gguf::ValueType;
  return !is_real(list) && list.type != string && list.type != boolean && list.type != array;
}

}  // namespace

const gguf::Array* Reader::list_of_blocks(std::string_view name, uint32_t blocks) {
  const gguf::Value* value = file_.find(key_to_read(name));
  const auto* list = value ? std::get_if<gguf::Array>(&value->data) : nullptr;
  if (!list || (list->count == blocks && (is_integer(*list) || is_real(*list)))) return list;
  fail(fmt::format("{} is a list that does not give a count for each of {} blocks", key(name),
                   blocks));
  return nullptr;
}

std::vector<uint32_t> Reader::each_of_blocks(std::string_view name, uint64_t low, uint64_t high,
                                             uint32_t blocks, std::optional<uint32_t> fallback) {
  const gguf::Value* value = file_.find(key_to_read(name));
  if (!value && !fallback) fail(fmt::format("{} is missing", key(name)));
  const gguf::Array* list = blocks ? list_of_blocks(name, blocks) : nullptr;
  std::vector<uint32_t> numbers(std::max(blocks, 1u), fallback.value_or(uint32_t(low)));
  if (!value || failed()) return numbers;
  if (!list) {
    numbers.assign(numbers.size(), integer_or(name, low, high, numbers[0]));
    return numbers;
  }
  for (uint32_t i = 0; i < blocks; ++i) {
    if (!is_integer(*list) || list->integer(i) < 0)
      fail(fmt::format("{} is a list that does not give a count for each of {} blocks", key(name),
                       blocks));
    else
      numbers[i] = checked(name, uint64_t(list->integer(i)), low, high);
    if (failed()) break;
  }
  return numbers;
}

uint32_t Reader::first_of_blocks(std::string_view name, uint64_t low, uint64_t high,
                                 uint32_t blocks, std::optional<uint32_t> fallback) {
  const gguf::Array* list = blocks ? list_of_blocks(name, blocks) : nullptr;
  if (!list || failed()) return each_of_blocks(name, low, high, 0, fallback)[0];
  if (is_integer(*list) && list->integer(0) >= 0)
    return checked(name, uint64_t(list->integer(0)), low, high);
  fail(fmt::format("{} is a list that does not give a count for each of {} blocks", key(name),
                   blocks));
  return uint32_t(low);
}

std::vector<float> Reader::reals_of_blocks(std::string_view name, double low, double high,
                                           uint32_t blocks, double fallback) {
  const gguf::Array* list = list_of_blocks(name, blocks);
  if (!list)
    return std::vector<float>(blocks, failed() ? 0.0f : float(real_or(name, low, high, fallback)));
  std::vector<float> numbers;
  for (uint32_t i = 0; i < blocks && !failed(); ++i)
    numbers.push_back(float(checked_real(
        name, is_real(*list) ? list->real(i) : double(list->integer(i)), low, high, fallback)));
  numbers.resize(blocks);
  return numbers;
}

std::vector<uint32_t> Reader::list(std::string_view name, uint64_t high) {
  const gguf::Value* value = file_.find(key_to_read(name));
  const auto* list = value ? std::get_if<gguf::Array>(&value->data) : nullptr;
  std::vector<uint32_t> numbers;
  if (!list) return numbers;
  const bool truths = list->type == gguf::ValueType::boolean;
  if (!truths && !is_integer(*list)) {
    fail(fmt::format("{} is a list of {}, wanted integers", key(name),
                     gguf::value_type_name(list->type)));
    return numbers;
  }
  if (list->count > 65536) fail(fmt::format("{} has {} elements", key(name), list->count));
  for (uint64_t i = 0; i < list->count && !failed(); ++i) {
    const int64_t number = truths ? int64_t(list->bytes[i] != 0) : list->integer(i);
    numbers.push_back(checked(name, uint64_t(number), 0, high));
  }
  return numbers;
}

bool Reader::varies(std::string_view name) const {
  const gguf::Value* value = file_.find(key_to_read(name));
  const auto* list = value ? std::get_if<gguf::Array>(&value->data) : nullptr;
  for (uint64_t i = 1; list && is_integer(*list) && i < list->count; ++i)
    if (list->integer(i) != list->integer(0)) return true;
  return false;
}

double Reader::real_or(std::string_view name, double low, double high, double fallback) {
  const auto found = file_.real_value(key_to_read(name));
  if (!found) {
    fail(found.error().message);
    return fallback;
  }
  return *found ? checked_real(name, **found, low, high, fallback) : fallback;
}

double Reader::checked_real(std::string_view name, double value, double low, double high,
                            double fallback) {
  if (value >= low && value <= high) return value;
  fail(fmt::format("{} is {}, outside {} to {}", key(name), value, low, high));
  return fallback;
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

bool Reader::flag(std::string_view name) {
  if (!file_.find(key_to_read(name))) fail(fmt::format("{} is missing", key(name)));
  return flag_or(name, false);
}

std::string Reader::text_or(std::string_view name, std::string_view fallback) {
  const auto found = file_.string_value(key_to_read(name));
  if (!found) {
    fail(found.error().message);
    return std::string(fallback);
  }
  return std::string(found->value_or(fallback));
}

op::Weight Reader::tensor(const std::string& name, std::array<uint64_t, 3> shape) {
  const gguf::Tensor* tensor = file_.find_tensor(name);
  used_.insert(name);
  const auto text = [](std::span<const uint64_t> dims) {
    std::string product;
    for (const uint64_t dim : dims)
      product += fmt::format("{}{}", product.empty() ? "" : " x ", dim);
    return product;
  };
  const auto& [columns, rows, experts] = shape;
  const size_t wanted_dims = experts > 1 ? 3 : rows > 1 ? 2 : 1;
  if (!tensor) {
    fail(fmt::format("tensor '{}' is missing (wanted {})", name,
                     text(std::span(shape).first(std::max<size_t>(wanted_dims, 2)))));
    return {};
  }
  const auto& dims = tensor->dims;
  if (dims[0] != columns || dims[1] != rows || dims[2] != experts || dims[3] != 1) {
    fail(fmt::format("tensor '{}' has shape {}, wanted {}", name,
                     text(std::span(dims).first(std::max(tensor->n_dims, 1u))),
                     text(std::span(shape).first(wanted_dims))));
    return {};
  }
  if (quant::info(tensor->type).block_size == 0) {
    fail(fmt::format("tensor '{}' is of type {}, which is not supported; supported: {}", name,
                     gguf::type_name(tensor->type), quant::supported_names()));
    return {};
  }
  return {name, tensor->type, rows * experts, columns, tensor->data};
}

op::Weight Reader::matrix(const std::string& name, uint64_t rows, uint64_t columns) {
  return tensor(name, {columns, rows, 1});
}

op::Weight Reader::experts(const std::string& name, uint64_t experts, uint64_t rows,
                           uint64_t columns) {
  return tensor(name, {columns, rows, experts});
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

void Reader::accept_tensors(std::string_view pattern) {
  for (const gguf::Tensor& tensor : file_.tensors())
    if (fits(pattern, tensor.name)) used_.insert(std::string(tensor.name));
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
