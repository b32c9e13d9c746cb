#include "model/difference.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "quant/formats.h"

namespace assay::model {

namespace {

std::string text_of(const gguf::Value* value) {
  if (!value) return "absent";
  if (const auto* x = std::get_if<uint64_t>(&value->data)) return fmt::format("{}", *x);
  if (const auto* x = std::get_if<int64_t>(&value->data)) return fmt::format("{}", *x);
  if (const auto* x = std::get_if<double>(&value->data)) return fmt::format("{:g}", *x);
  if (const auto* x = std::get_if<bool>(&value->data)) return *x ? "true" : "false";
  if (const auto* x = std::get_if<std::string_view>(&value->data))
    return fmt::format("'{}{}'", x->substr(0, 24), x->size() > 24 ? "…" : "");
  return fmt::format("{} values", std::get<gguf::Array>(value->data).count);
}

bool equal(const gguf::Value& a, const gguf::Value& b) {
  if (a.type != b.type || a.data.index() != b.data.index()) return false;
  const auto* x = std::get_if<gguf::Array>(&a.data);
  if (!x) return text_of(&a) == text_of(&b);
  const auto& y = std::get<gguf::Array>(b.data);
  return x->type == y.type && x->count == y.count && std::ranges::equal(x->bytes, y.bytes) &&
         x->strings == y.strings;
}

/// Strings are compared as a whole, not as they are shown.
bool same(const gguf::Value* a, const gguf::Value* b) {
  if (!a || !b) return a == b;
  const auto *x = std::get_if<std::string_view>(&a->data),
             *y = std::get_if<std::string_view>(&b->data);
  return x && y ? *x == *y : equal(*a, *b);
}

std::string keys_of(const gguf::File& a, const gguf::File& b) {
  std::string first;
  uint64_t count = 0;
  const auto look = [&](std::string_view key) {
    if (same(a.find(key), b.find(key))) return;
    if (count++ == 0)
      first = fmt::format("'{}' is {} and {}", key, text_of(a.find(key)), text_of(b.find(key)));
  };
  for (const auto& entry : a.metadata()) look(entry.key);
  for (const auto& entry : b.metadata())
    if (!a.find(entry.key)) look(entry.key);
  if (count > 1) first += fmt::format(" (and {} more)", count - 1);
  return first;
}

/// What a's tensor is of b's, whose bytes differ.
std::string relation_of(const gguf::Tensor& a, const gguf::Tensor& b, const gguf::File& other) {
  if (a.type != b.type)
    return fmt::format("of type {} and {}", quant::info(a.type).name, quant::info(b.type).name);
  if (a.dims != b.dims) return "of another shape";
  for (const gguf::Tensor& tensor : other.tensors())
    if (std::ranges::equal(a.data, tensor.data))
      return fmt::format("has the bytes of the other's {}", tensor.name);
  const uint64_t rows = a.elements() / a.dims[0], bytes = a.data.size() / rows;
  const auto row = [&](const gguf::Tensor& tensor, uint64_t r) {
    const auto part = tensor.data.subspan(r * bytes, bytes);
    return std::string_view(reinterpret_cast<const char*>(part.data()), part.size());
  };
  uint64_t differ = 0;
  std::vector<std::string_view> x, y;
  for (uint64_t r = 0; r < rows; ++r) {
    differ += row(a, r) != row(b, r);
    x.push_back(row(a, r));
    y.push_back(row(b, r));
  }
  std::ranges::sort(x);
  std::ranges::sort(y);
  if (x == y && rows > 1) return "has the same rows in another order";
  return fmt::format("differs in {} of {} rows", differ, rows);
}

std::string tensors_of(const gguf::File& a, const gguf::File& b) {
  std::string first;
  uint64_t count = 0;
  for (const gguf::Tensor& tensor : a.tensors()) {
    const gguf::Tensor* other = b.find_tensor(tensor.name);
    if (other && tensor.type == other->type && tensor.dims == other->dims &&
        std::ranges::equal(tensor.data, other->data))
      continue;
    if (count++ > 0) continue;
    first = fmt::format("{} {}", tensor.name,
                        other ? relation_of(tensor, *other, b) : "is in one only");
  }
  for (const gguf::Tensor& tensor : b.tensors())
    if (!a.find_tensor(tensor.name) && count++ == 0)
      first = fmt::format("{} is in one only", tensor.name);
  if (count > 1) first += fmt::format(" (and {} more)", count - 1);
  return first;
}

}  // namespace

std::string difference_of(const gguf::File& a, const gguf::File& b) {
  const std::string keys = keys_of(a, b), tensors = tensors_of(a, b);
  return keys + (keys.empty() || tensors.empty() ? "" : "; ") + tensors;
}

}  // namespace assay::model
