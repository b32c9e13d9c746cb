// The tensor table and where its tensors lie.
//   entry: name (string) | n_dims u32 | dims n_dims × u64 | type u32 | offset u64, relative to the
//   data section data section: begins at the next multiple of the alignment after the table
#include <fmt/format.h>

#include <algorithm>

#include "gguf/parse.h"

namespace assay::gguf {
namespace {

/// Bytes of a tensor of this type; empty where elements or bytes don't fit.
std::optional<uint64_t> tensor_bytes(const Tensor& tensor, const TypeInfo& type) {
  uint64_t elements = 1;
  for (const uint64_t dim : tensor.dims) {
    const auto product = checked_multiply(elements, dim);
    if (!product || *product > uint64_t{INT64_MAX} || dim > uint64_t{INT64_MAX})
      return std::nullopt;
    elements = *product;
  }
  return checked_multiply(elements / type.block_size, type.block_bytes);
}

std::string shape(const Tensor& tensor) {
  std::string out;
  for (uint32_t i = 0; i < tensor.n_dims; ++i) {
    out += fmt::format("{}{}", i == 0 ? "" : " x ", tensor.dims[i]);
  }
  return out;
}

Status parse_dims(Reader& reader, const std::string& name, Tensor& tensor) {
  const auto n_dims = reader.number<uint32_t>("the number of dimensions of tensor " + name);
  if (!n_dims) return n_dims.error();
  if (*n_dims > 4) {
    return reader.error(
        fmt::format("tensor {} has {} dimensions; it can have 4 at most", name, *n_dims));
  }
  tensor.n_dims = *n_dims;
  for (uint32_t i = 0; i < *n_dims; ++i) {
    const auto dim = reader.number<uint64_t>("the dimensions of tensor " + name);
    if (!dim) return dim.error();
    tensor.dims[i] = *dim;
  }
  return ok();
}

/// The type's facts, after checking that the shape can have this type.
Result<TypeInfo> check_type(const Reader& reader, const std::string& name, const Tensor& tensor) {
  const auto type = type_info(tensor.type);
  if (!type)
    return reader.error(fmt::format("tensor {} has the unknown type {}", name, tensor.type));
  if (tensor.dims[0] % type->block_size != 0) {
    return reader.error(
        fmt::format("rows of tensor {} have {} weights, not a multiple of the {} in a block of {}",
                    name, tensor.dims[0], type->block_size, type->name));
  }
  if (!tensor_bytes(tensor, *type)) {
    return reader.error(
        fmt::format("tensor {} of shape {} is too large for 64 bits", name, shape(tensor)));
  }
  return *type;
}

}  // namespace

Result<Tensor> parse_tensor(Reader& reader, uint64_t alignment) {
  Tensor tensor;
  const auto name = reader.string(longest_tensor_name, "a tensor's name");
  if (!name) return name.error();
  if (name->empty()) return reader.error("a tensor has an empty name");
  tensor.name = *name;
  const std::string shown = in_quotes(*name);
  if (Status read = parse_dims(reader, shown, tensor); !read) return read.error();
  const auto type = reader.number<uint32_t>("the type of tensor " + shown);
  if (!type) return type.error();
  tensor.type = *type;
  if (const auto known = check_type(reader, shown, tensor); !known) return known.error();
  const auto offset = reader.number<uint64_t>("the offset of tensor " + shown);
  if (!offset) return offset.error();
  if (*offset % alignment != 0) {
    return reader.error(
        fmt::format("the offset {} of tensor {} is not a multiple of the alignment {}", *offset,
                    shown, alignment));
  }
  tensor.offset = *offset;
  return tensor;
}

Status place_tensors(const Reader& after_table, Contents& contents) {
  if (contents.tensors.empty()) return ok();
  const uint64_t size = after_table.bytes.size();
  const auto padded = checked_add(after_table.position, contents.alignment - 1);
  const uint64_t data_start = padded ? *padded & ~(contents.alignment - 1) : UINT64_MAX;

  const Tensor* last =
      nullptr;  // of those that reach behind the file's end, the one that ends last
  uint64_t last_end = size;
  for (Tensor& tensor : contents.tensors) {
    const uint64_t bytes = *tensor_bytes(tensor, *type_info(tensor.type));
    const auto begin = checked_add(data_start, tensor.offset);
    const auto end = begin ? checked_add(*begin, bytes) : std::nullopt;
    if (!end) {
      return after_table.error(fmt::format("tensor {} at offset {} with {} bytes ends beyond 2^64",
                                           in_quotes(tensor.name), tensor.offset, bytes));
    }
    tensor.offset = *begin;
    if (bytes == 0) continue;  // nothing is read, so it may lie behind the file's end
    if (*end > last_end) {
      last = &tensor;
      last_end = *end;
    } else if (last == nullptr) {
      tensor.data = after_table.bytes.subspan(*begin, bytes);
    }
  }
  if (last != nullptr) {
    return after_table.error(
        fmt::format("truncated: the file should have at least {} bytes (tensor {} ends there), "
                    "but it has {}",
                    last_end, in_quotes(last->name), size));
  }

  std::vector<uint32_t> order;
  for (uint32_t i = 0; i < contents.tensors.size(); ++i)
    if (!contents.tensors[i].data.empty()) order.push_back(i);
  const auto offset = [&](uint32_t i) { return contents.tensors[i].offset; };
  std::ranges::sort(order, {}, offset);
  // None of these is empty, so neighbours in this order overlap wherever any two do.
  for (size_t i = 1; i < order.size(); ++i) {
    const Tensor& before = contents.tensors[order[i - 1]];
    const Tensor& after = contents.tensors[order[i]];
    if (before.offset + before.data.size() > after.offset) {
      return after_table.error(
          fmt::format("tensors {} and {} overlap", in_quotes(before.name), in_quotes(after.name)));
    }
  }
  return ok();
}

}  // namespace assay::gguf
