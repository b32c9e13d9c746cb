#include "trace/npy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string_view>

#include "base/atomic_file.h"
#include "lang/lang.h"

namespace assay::trace {

namespace {

constexpr std::string_view magic = "\x93NUMPY";
constexpr size_t most_dimensions = 16;
constexpr size_t most_shown = 32;  // characters of a hostile text in a message

struct Type {
  NpyType type;
  std::string_view descr;
  uint64_t bytes;
};
constexpr std::array types = {Type{NpyType::f4, "<f4", 4}, Type{NpyType::f8, "<f8", 8},
                              Type{NpyType::f2, "<f2", 2}, Type{NpyType::i4, "<i4", 4},
                              Type{NpyType::i8, "<i8", 8}, Type{NpyType::u1, "|u1", 1}};

const Type& facts(NpyType type) {
  return *std::ranges::find(types, type, &Type::type);
}

/// The header's dictionary: Python literals, of which three keys are allowed.
class Header {
 public:
  explicit Header(std::string_view text) : rest_(text) {}

  std::optional<std::string_view> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<uint64_t>> shape;

  /// What is wrong; empty: nothing.
  std::string read() {
    if (!take('{')) return "it does not begin with '{'";
    while (!take('}')) {
      const auto key = quoted();
      if (!key || !take(':')) return "a key and ':' are expected";
      if (const std::string why = read_value(*key); !why.empty()) return why;
      if (!take(',') && !ahead('}')) return "',' or '}' is wanted";
    }
    skip_spaces();
    if (!rest_.empty()) return "something follows its '}'";
    if (!descr || !fortran_order || !shape) return "descr, fortran_order or shape is missing";
    return {};
  }

 private:
  std::string read_value(std::string_view key) {
    if (key == "descr" && !descr) {
      descr = quoted();
      return descr ? "" : "descr is not one plain type";
    }
    if (key == "fortran_order" && !fortran_order) {
      fortran_order = word("True") ? std::optional(true) : std::nullopt;
      if (!fortran_order && word("False")) fortran_order = false;
      return fortran_order ? "" : "fortran_order is not True or False";
    }
    if (key == "shape" && !shape) return read_shape();
    return fmt::format("the key '{}' is unknown or occurs twice", key.substr(0, most_shown));
  }

  std::string read_shape() {
    shape.emplace();
    if (!take('(')) return "shape is not a tuple";
    while (!take(')')) {
      skip_spaces();
      uint64_t dimension = 0;
      const auto parsed = std::from_chars(rest_.data(), rest_.data() + rest_.size(), dimension);
      if (parsed.ec != std::errc()) return "shape contains something other than whole numbers";
      rest_.remove_prefix(size_t(parsed.ptr - rest_.data()));
      if (shape->size() == most_dimensions)
        return fmt::format("shape has more than {} numbers", most_dimensions);
      shape->push_back(dimension);
      if (!take(',') && !ahead(')')) return "',' or ')' is wanted in shape";
    }
    return {};
  }

  void skip_spaces() {
    const size_t at = rest_.find_first_not_of(" \t\n");
    rest_.remove_prefix(at == rest_.npos ? rest_.size() : at);
  }
  bool ahead(char c) {
    skip_spaces();
    return rest_.starts_with(c);
  }
  bool take(char c) {
    if (!ahead(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool word(std::string_view text) {
    skip_spaces();
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  std::optional<std::string_view> quoted() {
    skip_spaces();
    if (!rest_.starts_with('\'') && !rest_.starts_with('"')) return std::nullopt;
    const size_t end = rest_.find(rest_[0], 1);
    if (end == rest_.npos) return std::nullopt;
    const std::string_view text = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return text;
  }

  std::string_view rest_;
};

/// From the first dimension fastest to the last one fastest.
std::vector<uint8_t> to_c_order(std::span<const uint8_t> data, const std::vector<uint64_t>& shape,
                                uint64_t size) {
  std::vector<uint8_t> out(data.size());
  std::vector<uint64_t> index(shape.size(), 0), stride(shape.size(), size);
  for (size_t d = 1; d < shape.size(); ++d) stride[d] = stride[d - 1] * shape[d - 1];
  uint64_t source = 0;
  for (uint64_t at = 0; at < out.size(); at += size) {
    std::memcpy(&out[at], &data[source], size);
    for (size_t d = shape.size(); d-- > 0;) {
      source += stride[d];
      if (++index[d] < shape[d]) break;
      source -= stride[d] * shape[d];
      index[d] = 0;
    }
  }
  return out;
}

uint64_t little_endian(std::span<const uint8_t> bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | bytes[i];
  return value;
}

/// The type of a descr; a sentence if the type is not supported.
Result<NpyType> type_of(std::string_view descr) {
  const auto known = std::ranges::find(types, descr, &Type::descr);
  if (known != types.end()) return known->type;
  if (descr == "<u1") return NpyType::u1;
  descr = descr.substr(0, most_shown);
  if (descr.starts_with('>'))
    return Error{fmt::format("its type '{0}' is big-endian; array.astype('<{1}') turns it", descr,
                             descr.substr(1))};
  const std::string_view kind = descr.substr(std::min<size_t>(1, descr.size()));
  std::string_view hint;
  if (kind == "V2")
    hint = "; this is how bfloat16 is saved: array.astype('float32') holds it exactly";
  else if (kind == "V1")
    hint = "; this is how float8 is saved: array.astype('float32') holds it exactly";
  else if (kind.starts_with("f") || kind == "b1")
    hint = "; save array.astype('float32')";
  else if (kind.starts_with("O"))
    hint = "; these are pickled objects, not numbers: save one array, as float32";
  return Error{fmt::format(
      "its type '{}' is not supported; supported: <f4, <f8, <f2, <i4, <i8, |u1{}", descr, hint)};
}

}  // namespace

uint64_t Npy::elements() const {
  return bytes.size() / facts(type).bytes;
}

std::vector<double> Npy::values() const {
  std::vector<double> out(elements());
  const auto read = [&]<class T>(T value, auto convert) {
    for (size_t i = 0; i < out.size(); ++i) {
      std::memcpy(&value, &bytes[i * sizeof(T)], sizeof(T));
      out[i] = double(convert(value));
    }
  };
  const auto as_it_is = [](auto value) { return value; };
  switch (type) {
    case NpyType::f4:
      read(float(), as_it_is);
      break;
    case NpyType::f8:
      read(double(), as_it_is);
      break;
    case NpyType::f2:
      read(uint16_t(), k_f16_to_f32);
      break;
    case NpyType::i4:
      read(int32_t(), as_it_is);
      break;
    case NpyType::i8:
      read(int64_t(), as_it_is);
      break;
    case NpyType::u1:
      read(uint8_t(), as_it_is);
      break;
  }
  return out;
}

std::optional<std::pair<size_t, size_t>> outer_dimensions(const Npy& array) {
  std::vector<size_t> above_one;
  for (size_t d = 0; d < array.shape.size(); ++d)
    if (array.shape[d] > 1) above_one.push_back(d);
  if (above_one.size() != 3) return std::nullopt;
  return std::pair(above_one[0], above_one[1]);
}

Npy exchanged(const Npy& array, size_t one, size_t other) {
  const uint64_t size = facts(array.type).bytes;
  Npy out{array.type, array.shape, std::vector<uint8_t>(array.bytes.size())};
  std::swap(out.shape[one], out.shape[other]);
  std::vector<uint64_t> stride(array.shape.size(), size), index(array.shape.size(), 0);
  for (size_t d = array.shape.size(); d-- > 1;) stride[d - 1] = stride[d] * array.shape[d];
  std::swap(stride[one], stride[other]);
  uint64_t source = 0;
  for (uint64_t at = 0; at < out.bytes.size(); at += size) {
    std::memcpy(&out.bytes[at], &array.bytes[source], size);
    for (size_t d = out.shape.size(); d-- > 0;) {
      source += stride[d];
      if (++index[d] < out.shape[d]) break;
      source -= stride[d] * out.shape[d];
      index[d] = 0;
    }
  }
  return out;
}

Result<Npy> parse_npy(std::span<const uint8_t> file, const std::string& path) {
  const auto refuse = [&](const std::string& why) {
    return Error{fmt::format("{}: {}", path, why)};
  };
  if (file.size() < 12 || std::memcmp(file.data(), magic.data(), magic.size()) != 0) {
    std::string first;
    for (const uint8_t byte : file.first(std::min<size_t>(file.size(), 6)))
      first += fmt::format(" {:02x}", byte);
    return refuse(
        fmt::format("not a .npy file: it begins with{}", file.empty() ? " nothing" : first));
  }
  const uint32_t version = file[6];
  if (version < 1 || version > 3 || file[7] != 0)
    return refuse(
        fmt::format("version {}.{} of .npy is unknown; known: 1.0, 2.0, 3.0", version, file[7]));
  const size_t length_bytes = version == 1 ? 2 : 4, start = 8 + length_bytes;
  const uint64_t length = little_endian(file.subspan(8, length_bytes));
  if (length > file.size() - start)
    return refuse(fmt::format("truncated: the header has {} bytes, the file {} after its length",
                              length, file.size() - start));
  Header header({reinterpret_cast<const char*>(file.data()) + start, length});
  if (const std::string why = header.read(); !why.empty())
    return refuse("the .npy header is wrong: " + why);
  const auto type = type_of(*header.descr);
  if (!type) return refuse(type.error().message);
  const uint64_t size = facts(*type).bytes;
  uint64_t needed = size;
  for (const uint64_t dimension : *header.shape)
    if (__builtin_mul_overflow(needed, dimension, &needed))
      return refuse(
          fmt::format("the size of its shape {} wraps around", shape_text(*header.shape)));
  const auto data = file.subspan(start + length);
  if (data.size() != needed)
    return refuse(fmt::format("{}its shape {} needs {} bytes, but {} follow the header",
                              data.size() < needed ? "truncated: " : "", shape_text(*header.shape),
                              needed, data.size()));
  Npy out{*type, std::move(*header.shape), {}};
  if (*header.fortran_order && out.shape.size() > 1)
    out.bytes = to_c_order(data, out.shape, size);
  else
    out.bytes.assign(data.begin(), data.end());
  return out;
}

Result<Npy> read_npy(const std::string& path) {
  std::error_code ignored;
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path, ignored))
    return Error{fmt::format("cannot read '{}'", path)};
  const std::vector<uint8_t> bytes(std::istreambuf_iterator<char>(file), {});
  return parse_npy(bytes, path);
}

std::string shape_text(const std::vector<uint64_t>& shape) {
  std::string text;
  for (const uint64_t dimension : shape)
    text += fmt::format("{}{}", text.empty() ? "" : ", ", dimension);
  return fmt::format("({}{})", text, shape.size() == 1 ? "," : "");
}

Status write_npy(const std::string& path, NpyType type, const std::vector<uint64_t>& shape,
                 std::span<const uint8_t> bytes) {
  std::string dictionary = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}",
                                       facts(type).descr, shape_text(shape));
  // The data begin at a multiple of 64; the header's last byte is a newline.
  dictionary.resize((10 + dictionary.size() + 1 + 63) / 64 * 64 - 10 - 1, ' ');
  dictionary += '\n';
  std::string head(magic);
  head += {char(1), char(0), char(dictionary.size() & 255), char(dictionary.size() >> 8)};
  return write_atomically(
      path, {head, dictionary, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}});
}

Status write_npy(const std::string& path, const std::vector<uint64_t>& shape,
                 std::span<const float> values) {
  return write_npy(path, NpyType::f4, shape,
                   {reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()});
}

}  // namespace assay::trace
