#include "trace/safetensors_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "lang/lang.h"

namespace assay::trace {

namespace {

constexpr uint64_t most_header_bytes = 100'000'000;  // the format's own limit

struct Type {
  std::string_view name;
  uint64_t bytes;
};
constexpr std::array types = {
    Type{"F64", 8}, Type{"F32", 4}, Type{"F16", 2},  Type{"BF16", 2},    Type{"I64", 8},
    Type{"I32", 4}, Type{"I16", 2}, Type{"I8", 1},   Type{"U64", 8},     Type{"U32", 4},
    Type{"U16", 2}, Type{"U8", 1},  Type{"BOOL", 1}, Type{"F8_E4M3", 1}, Type{"F8_E5M2", 1}};

struct Entry {
  StoredTensor tensor;
  std::vector<uint64_t> offsets;
  bool has_shape = false, has_offsets = false;
};

/// Takes the header apart as it is parsed: no tree of a hostile document is ever built.
class Header : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::map<std::string, std::string> metadata;
  std::vector<Entry> entries;
  std::string problem;  ///< the first

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return unexpected("a fraction"); }
  bool binary(binary_t&) override { return unexpected("binary"); }
  bool number_unsigned(number_unsigned_t value) override {
    if (depth_ != 2 || !array_) return unexpected("a number");
    if (array_->size() == 16) return fail("more than 16 numbers in one list");
    array_->push_back(value);
    return true;
  }
  bool string(string_t& value) override {
    if (depth_ == 2 && in_metadata_) {
      metadata[key_] = value;
      return true;
    }
    if (depth_ != 2 || key_ != "dtype") return unexpected("a string");
    entries.back().tensor.dtype = value;
    return true;
  }
  bool start_object(std::size_t) override {
    if (++depth_ > 2 || array_) return unexpected("an object");
    in_metadata_ = depth_ == 2 && name_ == "__metadata__";
    if (depth_ == 2 && !in_metadata_) {
      entries.emplace_back();
      entries.back().tensor.name = name_;
    }
    return true;
  }
  bool key(string_t& name) override {
    if (depth_ == 1) {
      if (!names_.insert(name).second) return fail(fmt::format("'{}' occurs twice", name));
      name_ = name;
      keys_.clear();
    } else {
      if (!keys_.insert(name).second)
        return fail(fmt::format("'{}' of '{}' occurs twice", name, name_));
      if (!in_metadata_ && name != "dtype" && name != "shape" && name != "data_offsets")
        return fail(fmt::format("'{}' has an unknown '{}'", name_, name));
      key_ = name;
    }
    return true;
  }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ != 2 || in_metadata_ || array_) return unexpected("a list");
    Entry& entry = entries.back();
    if (key_ == "shape") {
      array_ = &entry.tensor.shape;
      entry.has_shape = true;
    } else if (key_ == "data_offsets") {
      array_ = &entry.offsets;
      entry.has_offsets = true;
    } else {
      return unexpected("a list");
    }
    return true;
  }
  bool end_array() override {
    array_ = nullptr;
    return true;
  }
  bool parse_error(std::size_t at, const std::string&,
                   const nlohmann::detail::exception&) override {
    return fail(fmt::format("not JSON (byte {})", at));
  }

 private:
  bool fail(std::string why) {
    if (problem.empty()) problem = std::move(why);
    return false;
  }
  bool unexpected(std::string_view what) {
    return fail(name_.empty() ? fmt::format("{} where an object is expected", what)
                              : fmt::format("{} in '{}' where none belongs", what, name_));
  }

  int depth_ = 0;
  bool in_metadata_ = false;
  std::string name_, key_;
  std::vector<uint64_t>* array_ = nullptr;
  std::set<std::string> names_, keys_;
};

/// Fills in `elements` and `bytes`; what is wrong with it otherwise.
std::string check(Entry& entry, std::span<const uint8_t> data) {
  StoredTensor& tensor = entry.tensor;
  const uint64_t size = element_bytes(tensor.dtype);
  if (size == 0) return fmt::format("the type '{}' is unknown", tensor.dtype);
  if (!entry.has_shape) return "there is no shape";
  if (!entry.has_offsets || entry.offsets.size() != 2) return "data_offsets are not two numbers";
  uint64_t bytes = size;
  for (const uint64_t dimension : tensor.shape)
    if (__builtin_mul_overflow(bytes, dimension, &bytes)) return "its size overflows 64 bits";
  const uint64_t begin = entry.offsets[0], end = entry.offsets[1];
  if (begin > end || end > data.size())
    return fmt::format("bytes {} to {} are not in the {} bytes of data", begin, end, data.size());
  if (end - begin != bytes)
    return fmt::format("its shape needs {} bytes, but it has {}", bytes, end - begin);
  tensor.elements = bytes / size;
  tensor.bytes = data.subspan(begin, bytes);
  return {};
}

}  // namespace

uint64_t element_bytes(std::string_view dtype) {
  const auto found = std::ranges::find(types, dtype, &Type::name);
  return found == types.end() ? 0 : found->bytes;
}

const StoredTensor* SafeTensors::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &tensors[found->second];
}

Result<SafeTensors> parse_safetensors(std::span<const uint8_t> bytes, const std::string& path) {
  const auto refuse = [&](const std::string& why) {
    return Error{fmt::format("{}: {}", path, why)};
  };
  if (bytes.size() < 8)
    return refuse(
        fmt::format("truncated: {} bytes are too few for a safetensors file", bytes.size()));
  uint64_t length = 0;
  for (int i = 0; i < 8; ++i) length |= uint64_t(bytes[size_t(i)]) << (8 * i);
  if (length > most_header_bytes)
    return refuse(fmt::format("not a safetensors file: it claims a header of {} bytes", length));
  if (length > bytes.size() - 8)
    return refuse(fmt::format("truncated: the header has {} bytes, the file {} after its first 8",
                              length, bytes.size() - 8));
  Header header;
  const auto* text = reinterpret_cast<const char*>(bytes.data()) + 8;
  if (!nlohmann::json::sax_parse(text, text + length, &header))
    return refuse("the safetensors header is wrong: " + header.problem);

  const std::span<const uint8_t> data = bytes.subspan(8 + length);
  for (Entry& entry : header.entries)
    if (const std::string why = check(entry, data); !why.empty())
      return refuse(fmt::format("tensor '{}': {}", entry.tensor.name, why));
  std::ranges::stable_sort(header.entries, {}, [](const Entry& e) { return e.offsets; });
  SafeTensors out;
  out.metadata = std::move(header.metadata);
  uint64_t end = 0;
  for (Entry& entry : header.entries) {
    if (entry.offsets[0] != end)
      return refuse(fmt::format("tensor '{}' {} what stands before it", entry.tensor.name,
                                entry.offsets[0] < end ? "overlaps" : "leaves a hole after"));
    end = entry.offsets[1];
    out.by_name_.emplace(entry.tensor.name, out.tensors.size());
    out.tensors.push_back(std::move(entry.tensor));
  }
  if (end != data.size())
    return refuse(fmt::format("{} bytes follow the last tensor", data.size() - end));
  return out;
}

Result<std::vector<float>> to_f32(const StoredTensor& tensor) {
  std::vector<float> out(tensor.elements);
  const auto read = [&]<class T>(T, auto convert) {
    for (uint64_t i = 0; i < tensor.elements; ++i) {
      T value;
      std::memcpy(&value, tensor.bytes.data() + i * sizeof(T), sizeof(T));
      out[i] = convert(value);
    }
  };
  const auto cast = [](auto value) { return float(value); };
  if (tensor.dtype == "F32")
    read(float(), cast);
  else if (tensor.dtype == "F16")
    read(uint16_t(), k_f16_to_f32);
  else if (tensor.dtype == "BF16")
    read(uint16_t(), [](uint16_t bits) { return k_float(uint32_t(bits) << 16); });
  else if (tensor.dtype == "F64")
    read(double(), cast);
  else if (tensor.dtype == "I64")
    read(int64_t(), cast);
  else if (tensor.dtype == "I32")
    read(int32_t(), cast);
  else
    return Error{fmt::format("tensor '{}' has the type {}; wanted F32, F16, BF16, F64, I32 or I64",
                             tensor.name, tensor.dtype)};
  return out;
}

}  // namespace assay::trace
