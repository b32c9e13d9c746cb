#include "gguf/writer.h"

#include <fmt/format.h>

#include <bit>
#include <cassert>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "gguf/parse.h"

namespace assay::gguf {
namespace {

void append(std::vector<uint8_t>& out, std::span<const uint8_t> bytes) {
  if (bytes.empty()) return;
  const size_t begin = out.size();
  out.resize(begin + bytes.size());
  std::memcpy(out.data() + begin, bytes.data(), bytes.size());
}

template <class T>
std::span<const uint8_t> bytes_of(std::span<const T> values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()};
}

template <class T>
void append_number(std::vector<uint8_t>& out, T value) {
  append(out, bytes_of(std::span<const T>(&value, 1)));
}

void append_string(std::vector<uint8_t>& out, std::string_view text) {
  append_number<uint64_t>(out, text.size());
  append(out, bytes_of(std::span<const char>(text)));
}

constexpr uint32_t id(ValueType type) {
  return static_cast<uint32_t>(type);
}

uint64_t padding(uint64_t size, uint64_t alignment) {
  return (alignment - size % alignment) % alignment;
}

/// Bytes of a tensor, or why this shape can't have this type.
Result<uint64_t> tensor_bytes(const std::string& name, uint32_t type,
                              std::span<const uint64_t> dims) {
  const auto info = type_info(type);
  if (!info) return Error{fmt::format("tensor {} has the unknown type {}", in_quotes(name), type)};
  if (dims.size() > 4) {
    return Error{fmt::format("tensor {} has {} dimensions; it can have 4 at most", in_quotes(name),
                             dims.size())};
  }
  const uint64_t row = dims.empty() ? 1 : dims[0];
  if (row % info->block_size != 0) {
    return Error{
        fmt::format("rows of tensor {} have {} weights, not a multiple of the {} in a block of {}",
                    in_quotes(name), row, info->block_size, info->name)};
  }
  std::optional<uint64_t> bytes = (row / info->block_size) * uint64_t{info->block_bytes};
  for (const uint64_t rows : dims.subspan(dims.empty() ? 0 : 1))
    bytes = bytes ? checked_multiply(*bytes, rows) : bytes;
  if (!bytes || *bytes == 0 || *bytes > uint64_t{INT64_MAX}) {
    return Error{fmt::format("tensor {} has no elements or too many", in_quotes(name))};
  }
  return *bytes;
}

}  // namespace

Writer::Writer(uint32_t alignment) : alignment_(alignment) {
  assert(std::has_single_bit(alignment) && alignment >= 8);
  if (alignment != 32) add_u32("general.alignment", alignment);
}

void Writer::add_key(std::string_view key, uint32_t value_type) {
  append_string(metadata_, key);
  append_number(metadata_, value_type);
  ++metadata_count_;
}

template <class T>
void Writer::add_number(std::string_view key, uint32_t value_type, T value) {
  add_key(key, value_type);
  append_number(metadata_, value);
}

void Writer::add_array(std::string_view key, uint32_t element_type, uint64_t count) {
  add_key(key, id(ValueType::array));
  append_number(metadata_, element_type);
  append_number(metadata_, count);
}

void Writer::add_u32(std::string_view key, uint32_t value) {
  add_number(key, id(ValueType::u32), value);
}

void Writer::add_i32(std::string_view key, int32_t value) {
  add_number(key, id(ValueType::i32), value);
}

void Writer::add_u64(std::string_view key, uint64_t value) {
  add_number(key, id(ValueType::u64), value);
}

void Writer::add_f32(std::string_view key, float value) {
  add_number(key, id(ValueType::f32), value);
}

void Writer::add_bool(std::string_view key, bool value) {
  add_number(key, id(ValueType::boolean), uint8_t(value ? 1 : 0));
}

void Writer::add_string(std::string_view key, std::string_view value) {
  add_key(key, id(ValueType::string));
  append_string(metadata_, value);
}

void Writer::add_string_array(std::string_view key, std::span<const std::string> values) {
  add_array(key, id(ValueType::string), values.size());
  for (const std::string& value : values) append_string(metadata_, value);
}

void Writer::add_f32_array(std::string_view key, std::span<const float> values) {
  add_array(key, id(ValueType::f32), values.size());
  append(metadata_, bytes_of(values));
}

void Writer::add_i32_array(std::string_view key, std::span<const int32_t> values) {
  add_array(key, id(ValueType::i32), values.size());
  append(metadata_, bytes_of(values));
}

void Writer::add_bool_array(std::string_view key, const std::vector<bool>& values) {
  add_array(key, id(ValueType::boolean), values.size());
  for (const bool value : values) metadata_.push_back(value ? 1 : 0);
}

void Writer::add_tensor(std::string_view name, uint32_t type, std::vector<uint64_t> dims,
                        std::function<std::vector<uint8_t>()> produce) {
  tensors_.push_back({std::string(name), type, std::move(dims), std::move(produce)});
}

Result<std::vector<uint8_t>> Writer::head() const {
  std::vector<uint8_t> out;
  append(out, bytes_of(std::span<const char>("GGUF", 4)));
  append_number<uint32_t>(out, 3);
  append_number<uint64_t>(out, tensors_.size());
  append_number(out, metadata_count_);
  append(out, metadata_);
  uint64_t offset = 0;
  for (const Entry& tensor : tensors_) {
    const auto bytes = tensor_bytes(tensor.name, tensor.type, tensor.dims);
    if (!bytes) return bytes.error();
    append_string(out, tensor.name);
    append_number(out, static_cast<uint32_t>(tensor.dims.size()));
    for (const uint64_t dim : tensor.dims) append_number(out, dim);
    append_number(out, tensor.type);
    append_number(out, offset);
    offset += *bytes + padding(*bytes, alignment_);
  }
  if (!tensors_.empty()) out.resize(out.size() + padding(out.size(), alignment_));
  return out;
}

Status Writer::emit(const Sink& sink) const {
  const Error full;
  const auto begin = head();
  if (!begin) return begin.error();
  if (!sink(*begin)) return full;
  const std::vector<uint8_t> zeros(alignment_);
  for (const Entry& tensor : tensors_) {
    const std::vector<uint8_t> data = tensor.produce();
    const auto wanted = tensor_bytes(tensor.name, tensor.type, tensor.dims);
    if (!wanted) return wanted.error();
    if (data.size() != *wanted) {
      return Error{fmt::format("tensor {} takes {} bytes, but {} were produced",
                               in_quotes(tensor.name), *wanted, data.size())};
    }
    if (!sink(data) || !sink(std::span(zeros).first(padding(data.size(), alignment_)))) return full;
  }
  return ok();
}

std::vector<uint8_t> Writer::bytes() const {
  std::vector<uint8_t> out;
  const Status emitted = emit([&](std::span<const uint8_t> bytes) {
    append(out, bytes);
    return true;
  });
  if (!emitted) out.clear();
  return out;
}

Status Writer::write(const std::string& path,
                     const std::function<Status(const std::string& part)>& check) const {
  const std::string part = path + ".part";
  std::ofstream file(part, std::ios::binary | std::ios::trunc);
  if (!file) return Error{fmt::format("{}: cannot write the file: {}", part, std::strerror(errno))};
  Status emitted = emit([&](std::span<const uint8_t> bytes) {
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    return file.good();
  });
  const bool refused = !emitted && !emitted.error().message.empty();
  file.close();
  Status checked = emitted && file && check ? check(part) : ok();
  if (emitted && file && checked && std::rename(part.c_str(), path.c_str()) == 0) return ok();
  const std::string reason = refused ? emitted.error().message : std::strerror(errno);
  std::remove(part.c_str());
  if (!checked) return checked;
  return Error{fmt::format("{}: cannot write the file: {}", path, reason)};
}

}  // namespace assay::gguf
