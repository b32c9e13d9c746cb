// GGUF bytes by hand, so that each field can be wrong on its own.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gguf/file.h"

namespace assay::gguf {

struct Bytes {
  std::vector<uint8_t> data;

  template <class T>
  Bytes& number(T value) {
    for (const uint8_t byte : std::bit_cast<std::array<uint8_t, sizeof(T)>>(value))
      data.push_back(byte);
    return *this;
  }
  Bytes& u8(uint8_t value) { return number(value); }
  Bytes& u32(uint32_t value) { return number(value); }
  Bytes& u64(uint64_t value) { return number(value); }
  Bytes& text(const std::string& value) {
    return u64(value.size()).append({value.begin(), value.end()});
  }
  Bytes& append(const std::vector<uint8_t>& more) {
    for (const uint8_t byte : more) data.push_back(byte);
    return *this;
  }
};

constexpr uint32_t u8_id = 0, i8_id = 1, u16_id = 2, i16_id = 3, u32_id = 4, i32_id = 5, f32_id = 6,
                   bool_id = 7, string_id = 8, array_id = 9, u64_id = 10, i64_id = 11, f64_id = 12;

/// A metadata entry up to its value.
inline Bytes entry(const std::string& key, uint32_t type) {
  Bytes bytes;
  bytes.text(key).u32(type);
  return bytes;
}

inline Bytes u32_entry(const std::string& key, uint32_t value) {
  return entry(key, u32_id).u32(value);
}

inline Bytes array_entry(const std::string& key, uint32_t element_type, uint64_t count) {
  return entry(key, array_id).u32(element_type).u64(count);
}

inline Bytes strings_entry(const std::string& key, const std::vector<std::string>& values) {
  Bytes bytes = array_entry(key, string_id, values.size());
  for (const auto& value : values) bytes.text(value);
  return bytes;
}

struct RawTensor {
  std::string name = "w";
  std::vector<uint64_t> dims{8};
  uint32_t type = 0;  // F32
  uint64_t offset = 0;
  std::optional<uint32_t> n_dims{};  // where it shall differ from dims.size()
};

struct RawFile {
  uint32_t version = 3;
  std::vector<Bytes> metadata{};
  std::vector<RawTensor> tensors{};
  uint64_t alignment = 32;                                   // used for padding only
  uint64_t data_bytes = 0;                                   // of the data section
  std::optional<uint64_t> tensor_count{}, metadata_count{};  // where they shall lie

  std::vector<uint8_t> bytes() const {
    Bytes out;
    out.append({'G', 'G', 'U', 'F'}).u32(version);
    out.u64(tensor_count.value_or(tensors.size())).u64(metadata_count.value_or(metadata.size()));
    for (const Bytes& item : metadata) out.append(item.data);
    for (const RawTensor& tensor : tensors) {
      out.text(tensor.name).u32(tensor.n_dims.value_or(static_cast<uint32_t>(tensor.dims.size())));
      for (const uint64_t dim : tensor.dims) out.u64(dim);
      out.u32(tensor.type).u64(tensor.offset);
    }
    if (data_bytes > 0) {
      out.data.resize((out.data.size() + alignment - 1) / alignment * alignment + data_bytes);
    }
    return out.data;
  }
};

inline testing::AssertionResult accepted(const std::vector<uint8_t>& bytes) {
  const auto file = File::parse(bytes, "x.gguf");
  if (file) return testing::AssertionSuccess();
  return testing::AssertionFailure() << file.error().message;
}
inline testing::AssertionResult accepted(const RawFile& raw) {
  return accepted(raw.bytes());
}

/// Refused with one sentence that names the file and holds `part`.
inline testing::AssertionResult refused(const std::vector<uint8_t>& bytes,
                                        const std::string& part) {
  const auto file = File::parse(bytes, "x.gguf");
  if (file) return testing::AssertionFailure() << "accepted";
  const std::string& message = file.error().message;
  const bool one_line = message.find('\n') == std::string::npos && !message.ends_with('.');
  if (one_line && message.starts_with("x.gguf: ") && message.find(part) != std::string::npos &&
      file.error().exit == Exit::cannot) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << "refused with: " << message;
}
inline testing::AssertionResult refused(const RawFile& raw, const std::string& part) {
  return refused(raw.bytes(), part);
}

}  // namespace assay::gguf
