#include "inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/sha256.h"
#include "common.h"
#include "fault.h"
#include "gguf/file.h"
#include "gpu/plan.h"
#include "model/model.h"
#include "op/paging.h"
#include "quant/formats.h"

namespace {

using Json = nlohmann::ordered_json;
using namespace assay;

/// One tensor's weights, decoded. NaN values are counted and otherwise left out.
struct Weights {
  bool decodable = false;
  double rms = 0;      // sqrt(Σ w² / count of w that aren't NaN), summed in f64
  double largest = 0;  // max |w|
  uint64_t nan = 0;
  std::string sha256;  // of the stored bytes
};

struct TypeTotal {
  uint64_t tensors = 0, bytes = 0, weights = 0;
};

/// What layers with equal windows keep of one text. Nothing where a product is beyond 2^64.
struct LayersPlan {
  uint64_t layers = 0;
  uint64_t values = 0;  // Σ of key_value_heads · (key_length + value_length): of one position
  uint64_t most_positions = UINT64_MAX;  // that are kept; all where there is no window
  std::optional<uint64_t> bytes(uint64_t positions, uint64_t bytes_per_value) const {
    uint64_t total = 0;
    if (__builtin_mul_overflow(values, std::min(positions, most_positions), &total) ||
        __builtin_mul_overflow(total, bytes_per_value, &total))
      return std::nullopt;
    return total;
  }
};

/// Bytes of keys and values, all heads of all layers, for a number of positions.
struct CachePlan {
  std::map<uint32_t, LayersPlan> by_window;  // 0: the layers that keep every position
  std::optional<uint64_t> context;           // positions that the model was trained with
  std::optional<uint64_t> bytes(uint64_t positions, uint64_t bytes_per_value) const {
    uint64_t total = 0;
    for (const auto& [window, plan] : by_window) {
      const auto some = plan.bytes(positions, bytes_per_value);
      if (!some || __builtin_add_overflow(total, *some, &total)) return std::nullopt;
    }
    return total;
  }
};

struct Report {
  const gguf::File* file = nullptr;
  std::vector<Weights> weights;  // a tensor each, or empty
  std::map<std::string, TypeTotal> types;
  uint64_t weight_bytes = 0;
  std::optional<CachePlan> cache;
};

Weights measure(const gguf::File& file, const gguf::Tensor& tensor) {
  constexpr uint64_t at_once = 8192;  // weights; a multiple of every block size
  Weights found;
  Sha256 hash;
  const auto type = *gguf::type_info(tensor.type);
  const uint64_t step = at_once / type.block_size * type.block_bytes;
  found.decodable = quant::info(tensor.type).block_size != 0;
  std::vector<float> values(at_once);
  double squares = 0;
  for (uint64_t begin = 0; begin < tensor.data.size(); begin += step) {
    const auto bytes = tensor.data.subspan(begin, std::min(step, tensor.data.size() - begin));
    hash.update(bytes);
    if (!found.decodable) continue;
    const std::span<float> decoded(values.data(),
                                   bytes.size() / type.block_bytes * type.block_size);
    found.decodable = quant::decode_row(tensor.type, bytes, decoded);
    for (const float value : decoded) {
      if (std::isnan(value)) {
        ++found.nan;
        continue;
      }
      squares += double{value} * value;
      found.largest = std::max(found.largest, std::abs(double{value}));
    }
  }
  const uint64_t numbers = tensor.elements() - found.nan;
  found.rms = numbers == 0 ? 0 : std::sqrt(squares / static_cast<double>(numbers));
  found.sha256 = hash.hex();
  file.release(tensor.data);
  return found;
}

/// Heads of keys and values, summed over the layers. The key holds one number, or one per layer.
std::optional<uint64_t> heads_of_all_layers(const gguf::File& file, const std::string& key,
                                            uint64_t layers) {
  const gguf::Value* value = file.find(key);
  if (value == nullptr) return std::nullopt;
  uint64_t sum = 0;
  if (const auto* array = std::get_if<gguf::Array>(&value->data)) {
    if (array->bytes.empty() || array->type == gguf::ValueType::f32 ||
        array->type == gguf::ValueType::f64) {
      return std::nullopt;
    }
    for (uint64_t i = 0; i < array->count; ++i) {
      const int64_t heads = array->integer(i);
      if (heads < 0 || __builtin_add_overflow(sum, static_cast<uint64_t>(heads), &sum))
        return std::nullopt;
    }
    return sum;
  }
  const auto heads = file.unsigned_value(key);
  if (!heads || !*heads || __builtin_mul_overflow(**heads, layers, &sum)) return std::nullopt;
  return sum;
}

/// Of a model that assay runs, with pages for one text read in steps of the usual size.
CachePlan plan_of(const op::Program& program) {
  op::ExecutorOptions options;
  options.context = UINT32_MAX;
  CachePlan plan;
  for (uint32_t i = 0; i < program.caches.size(); ++i) {
    const op::CacheShape& shape = program.caches[i];
    const uint32_t window = program.window_of(i);
    LayersPlan& layers = plan.by_window[window];
    ++layers.layers;
    layers.values += uint64_t(shape.kv_heads) * (uint64_t(shape.key_dim) + shape.value_dim);
    if (window)
      layers.most_positions = uint64_t(op::pages_of_sequence(options, window)) * op::page_positions;
  }
  if (program.trained_context) plan.context = program.trained_context;
  return plan;
}

/// By the metadata alone. Empty where the file doesn't say enough, or says nonsense. `inspect` shows
/// any file, so none of it is an error.
std::optional<CachePlan> plan_by_keys(const gguf::File& file) {
  const auto architecture = file.string_value("general.architecture");
  if (!architecture || !*architecture) return std::nullopt;
  const std::string prefix(**architecture);
  // Of a list with a number for each layer the first: heads of queries set the head length alone.
  const auto number = [&](const char* name) -> std::optional<uint64_t> {
    const gguf::Value* list = file.find(prefix + name);
    const auto* array = list ? std::get_if<gguf::Array>(&list->data) : nullptr;
    const bool integers = array && !array->bytes.empty() && array->type != gguf::ValueType::f32 &&
                          array->type != gguf::ValueType::f64;
    if (integers && array->integer(0) >= 0) return uint64_t(array->integer(0));
    const auto value = file.unsigned_value(prefix + name);
    return value ? *value : std::nullopt;
  };
  const auto layers = number(".block_count");
  if (!layers) return std::nullopt;
  auto heads = heads_of_all_layers(file, prefix + ".attention.head_count_kv", *layers);
  if (!heads) heads = heads_of_all_layers(file, prefix + ".attention.head_count", *layers);

  const auto width = number(".embedding_length");
  const auto query_heads = number(".attention.head_count");
  std::optional<uint64_t> head_length;
  if (width && query_heads && *query_heads > 0) head_length = *width / *query_heads;
  const auto stated_key = number(".attention.key_length"),
             stated_value = number(".attention.value_length");
  const auto key_length = stated_key ? stated_key : head_length;
  const auto value_length = stated_value ? stated_value : head_length;
  CachePlan plan;
  LayersPlan& all = plan.by_window[0];
  all.layers = *layers;
  uint64_t both = 0;
  if (!heads || !key_length || !value_length ||
      __builtin_add_overflow(*key_length, *value_length, &both) ||
      __builtin_mul_overflow(*heads, both, &all.values)) {
    return std::nullopt;
  }
  plan.context = number(".context_length");
  return plan;
}

Report examine(const gguf::File& file, bool weights) {
  Report report;
  report.file = &file;
  Progress bar("weights");
  for (const gguf::Tensor& tensor : file.tensors()) {
    TypeTotal& total = report.types[gguf::type_name(tensor.type)];
    total.tensors += 1;
    total.bytes += tensor.data.size();
    total.weights += tensor.elements();
    report.weight_bytes += tensor.data.size();
    if (weights) report.weights.push_back(measure(file, tensor));
    bar.show(report.weight_bytes, file.size());
  }
  const auto program = model::build(file, 0);
  report.cache = program ? plan_of(*program) : plan_by_keys(file);
  return report;
}

/// NaN where all tensors of the type are empty.
double bits_per_weight(const TypeTotal& total) {
  return 8.0 * static_cast<double>(total.bytes) / static_cast<double>(total.weights);
}

// ---- JSON ----

Json element(const gguf::Array& array, uint64_t i) {
  switch (array.type) {
    case gguf::ValueType::string:
      return array.strings[i];
    case gguf::ValueType::f32:
    case gguf::ValueType::f64:
      return array.real(i);
    case gguf::ValueType::boolean:
      return array.integer(i) != 0;
    case gguf::ValueType::u64:
      return static_cast<uint64_t>(array.integer(i));
    default:
      return array.integer(i);
  }
}

Json first_elements(const gguf::Array& array, uint64_t count) {
  Json first = Json::array();
  for (uint64_t i = 0; i < std::min(count, array.count); ++i) first.push_back(element(array, i));
  return first;
}

Json value_json(const gguf::Value& value) {
  if (const auto* array = std::get_if<gguf::Array>(&value.data)) {
    return {{"type", gguf::value_type_name(array->type)},
            {"count", array->count},
            {"first", first_elements(*array, 8)}};
  }
  return std::visit(
      [](const auto& plain) -> Json {
        if constexpr (std::is_same_v<std::decay_t<decltype(plain)>, gguf::Array>) {
          return nullptr;
        } else {
          return plain;
        }
      },
      value.data);
}

Json tensors_json(const Report& report) {
  Json tensors = Json::array();
  for (size_t i = 0; i < report.file->tensors().size(); ++i) {
    const gguf::Tensor& tensor = report.file->tensors()[i];
    Json entry = {{"name", tensor.name},
                  {"type", gguf::type_name(tensor.type)},
                  {"shape", std::vector(tensor.dims.begin(), tensor.dims.begin() + tensor.n_dims)},
                  {"bytes", tensor.data.size()},
                  {"offset", tensor.offset}};
    if (!report.weights.empty()) {
      const Weights& weights = report.weights[i];
      entry["rms"] = weights.decodable ? Json(weights.rms) : Json();
      entry["max_abs"] = weights.decodable ? Json(weights.largest) : Json();
      entry["nan"] = weights.decodable ? Json(weights.nan) : Json();
      entry["sha256"] = weights.sha256;
    }
    tensors.push_back(std::move(entry));
  }
  return tensors;
}

template <class Plan>
Json cache_json(const Plan& plan, uint64_t positions) {
  const auto bytes = [&](uint64_t bytes_per_value) {
    const auto total = plan.bytes(positions, bytes_per_value);
    return total ? Json(*total) : Json();
  };
  return {{"f16", bytes(2)}, {"f32", bytes(4)}};
}

/// The layers whose memory grows with the text.
LayersPlan whole_layers(const CachePlan& plan) {
  const auto found = plan.by_window.find(0);
  return found == plan.by_window.end() ? LayersPlan() : found->second;
}

std::map<uint32_t, LayersPlan> windowed_layers(const std::optional<CachePlan>& plan) {
  if (!plan) return {};
  auto windowed = plan->by_window;
  windowed.erase(0);
  return windowed;
}

Json report_json(const Report& report) {
  const gguf::File& file = *report.file;
  Json json;
  json["schema"] = "assay.inspect/1";
  json["model"] = {{"path", file.path()},
                   {"bytes", file.size()},
                   {"version", file.version()},
                   {"alignment", file.alignment()}};
  Json metadata = Json::object();
  // Straight into the list of members: the keys are known to differ, and looking each up would be
  // quadratic.
  auto& members = metadata.get_ref<Json::object_t&>();
  for (const auto& [key, value] : file.metadata())
    members.emplace_back(std::string(key), value_json(value));
  json["metadata"] = std::move(metadata);
  json["tensors"] = tensors_json(report);
  json["types"] = Json::array();
  for (const auto& [name, total] : report.types) {
    json["types"].push_back({{"type", name},
                             {"tensors", total.tensors},
                             {"bytes", total.bytes},
                             {"weights", total.weights},
                             {"bits_per_weight", bits_per_weight(total)}});
  }
  Json memory = {{"file_bytes", file.size()}, {"weight_bytes", report.weight_bytes}};
  const auto& cache = report.cache;
  memory["kv_bytes_per_1024"] = cache ? cache_json(whole_layers(*cache), 1024) : Json();
  memory["kv_bytes_of_windows"] = Json::array();  // at most, however long the text
  for (const auto& [window, plan] : windowed_layers(cache)) {
    Json entry = cache_json(plan, UINT64_MAX);
    entry["window"] = window;
    entry["layers"] = plan.layers;
    memory["kv_bytes_of_windows"].push_back(std::move(entry));
  }
  memory["context_length"] = cache && cache->context ? Json(*cache->context) : Json();
  memory["kv_bytes_at_context"] =
      cache && cache->context ? cache_json(*cache, *cache->context) : Json();
  json["memory"] = std::move(memory);
  json["remarks"] = model::remarks(file);
  return json;
}

// ---- tables for people ----

/// Text from a file, safe for a terminal: one line, no control characters, no broken UTF-8, at most
/// `longest` bytes of the original.
std::string shown(std::string_view text, size_t longest = SIZE_MAX) {
  // nlohmann's dump replaces broken UTF-8 and writes control characters below 0x20 as escapes.
  std::string_view part = text.substr(0, longest);
  while (part.size() < text.size() && !part.empty() &&
         (static_cast<uint8_t>(text[part.size()]) & 0xc0) == 0x80) {
    part.remove_suffix(1);  // not in the middle of a character
  }
  const std::string quoted = Json(part).dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string out;
  for (size_t i = 1; i + 1 < quoted.size(); ++i) {
    const auto byte = static_cast<uint8_t>(quoted[i]);
    const bool c1_control = byte == 0xc2 && static_cast<uint8_t>(quoted[i + 1]) < 0xa0;
    if (byte == 0x7f || c1_control) {
      out += "\\u00";
      out += fmt::format("{:02x}", c1_control ? static_cast<uint8_t>(quoted[++i]) : byte);
    } else if (byte == '\\' && quoted[i + 1] == '"') {
      continue;  // no quotes around the text, so none to escape inside
    } else {
      out += quoted[i];
    }
  }
  return part.size() < text.size() ? out + "…" : out;
}

/// Pads to `width` columns, counting a character (not a byte) as one.
std::string pad(const std::string& text, size_t width) {
  const auto columns = static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<uint8_t>(c) & 0xc0) != 0x80; }));
  return columns < width ? text + std::string(width - columns, ' ') : text;
}

std::string bytes_text(std::optional<uint64_t> bytes) {
  if (!bytes) return "more than 2^64 bytes";
  if (*bytes < 10'000) return fmt::format("{} bytes", *bytes);
  const auto size = static_cast<double>(*bytes);
  if (size < 1e6) return fmt::format("{:.1f} kB", size / 1e3);
  return size < 1e9 ? fmt::format("{:.1f} MB", size / 1e6) : fmt::format("{:.2f} GB", size / 1e9);
}

std::string value_text(const gguf::Value& value) {
  if (const auto* text = std::get_if<std::string_view>(&value.data)) return shown(*text, 96);
  const auto* array = std::get_if<gguf::Array>(&value.data);
  if (array == nullptr) {
    if (value.type != gguf::ValueType::f32) return value_json(value).dump();
    return fmt::format(
        "{}", static_cast<float>(std::get<double>(value.data)));  // the shortest that reads back
  }
  std::string first;
  for (const Json& item : first_elements(*array, 4)) {
    if (!first.empty()) first += ", ";
    first += item.is_string() ? fmt::format("\"{}\"", shown(item.get_ref<const std::string&>(), 24))
                              : item.dump();
  }
  return fmt::format("{} {} [{}{}]", array->count, gguf::value_type_name(array->type), first,
                     array->count > 4 ? ", …" : "");
}

std::string shape_text(const gguf::Tensor& tensor) {
  if (tensor.n_dims == 0) return "(one element)";
  std::string out = std::to_string(tensor.dims[0]);
  for (uint32_t i = 1; i < tensor.n_dims; ++i) out += " x " + std::to_string(tensor.dims[i]);
  return out;
}

void print_metadata(const gguf::File& file) {
  size_t width = 0;
  for (const auto& [key, value] : file.metadata())
    width = std::max(width, std::min<size_t>(key.size(), 48));
  fmt::print("\nmetadata ({})\n", file.metadata().size());
  for (const auto& [key, value] : file.metadata()) {
    fmt::print("  {}  {}\n", pad(shown(key, 96), width), value_text(value));
  }
}

void print_tensors(const Report& report) {
  const auto& tensors = report.file->tensors();
  size_t width = 4;
  for (const auto& tensor : tensors)
    width = std::max(width, std::min<size_t>(tensor.name.size(), 48));
  fmt::print("\ntensors ({})\n  {}  {:<8}  {:<20}  {:>14}", tensors.size(), pad("name", width),
             "type", "shape", "bytes");
  if (!report.weights.empty())
    fmt::print("  {:>12}  {:>12}  {:>6}  {}", "rms", "max |w|", "NaN", "sha256");
  fmt::print("\n");
  for (size_t i = 0; i < tensors.size(); ++i) {
    const gguf::Tensor& tensor = tensors[i];
    fmt::print("  {}  {:<8}  {:<20}  {:>14}", pad(shown(tensor.name), width),
               gguf::type_name(tensor.type), shape_text(tensor), tensor.data.size());
    if (!report.weights.empty()) {
      const Weights& weights = report.weights[i];
      if (weights.decodable) {
        fmt::print("  {:>12.6g}  {:>12.6g}  {:>6}", weights.rms, weights.largest, weights.nan);
      } else {
        fmt::print("  {:>34}", "not decodable");
      }
      fmt::print("  {}", weights.sha256.substr(0, 16));
    }
    fmt::print("\n");
  }
}

void print_sizes(const Report& report) {
  fmt::print("\nsizes by type\n  {:<12}  {:>7}  {:>16}  {:>16}  {:>11}\n", "type", "tensors",
             "bytes", "weights", "bits/weight");
  for (const auto& [name, total] : report.types) {
    fmt::print("  {:<12}  {:>7}  {:>16}  {:>16}  {:>11}\n", name, total.tensors, total.bytes,
               total.weights, total.weights ? fmt::format("{:.3f}", bits_per_weight(total)) : "-");
  }
  fmt::print("\nmemory\n  file     {}\n  weights  {} (as stored)\n",
             bytes_text(report.file->size()), bytes_text(report.weight_bytes));
  if (!report.cache) {
    fmt::print(
        "  KV cache not known: the metadata does not give the numbers of layers and heads and the "
        "head length\n");
    return;
  }
  const CachePlan& plan = *report.cache;
  const LayersPlan whole = whole_layers(plan);
  const auto windowed = windowed_layers(plan);
  if (whole.layers > 0 || windowed.empty())
    fmt::print("  KV cache {} (f16) or {} (f32) per 1024 positions{}\n",
               bytes_text(whole.bytes(1024, 2)), bytes_text(whole.bytes(1024, 4)),
               windowed.empty() ? "" : ", in layers without a window");
  for (const auto& [window, layers] : windowed)
    fmt::print("  KV cache {} (f16) or {} (f32) at most, in layers with a window of {} positions\n",
               bytes_text(layers.bytes(UINT64_MAX, 2)), bytes_text(layers.bytes(UINT64_MAX, 4)),
               window);
  if (plan.context) {
    fmt::print("  KV cache {} (f16) or {} (f32) at the trained context of {}\n",
               bytes_text(plan.bytes(*plan.context, 2)), bytes_text(plan.bytes(*plan.context, 4)),
               *plan.context);
  }
}

/// What a GPU runs for a step.
/// Prints what `text` makes of the program alone.
int inspect_program(const std::string& model, uint32_t context,
                    const std::function<std::string(const op::Program&)>& text) {
  const auto path = resolve_model(model);
  if (!path) return report(path.error());
  const auto file = gguf::File::open(*path);
  if (!file) return report(file.error());
  const auto program = model::build(*file, context);
  if (!program) return report(program.error());
  fmt::print("{}", text(*program));
  return static_cast<int>(Exit::done);
}

int inspect(const std::string& model, bool json, bool weights) {
  const auto path = resolve_model(model);
  if (!path) return report(path.error());
  const auto file = gguf::File::open(*path);
  if (!file) return report(file.error());
  const Report found = examine(*file, weights);
  if (json) {
    fmt::print("{}\n", report_json(found).dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    fmt::print("{}\n  GGUF version {}, {} bytes, alignment {}\n", file->path(), file->version(),
               file->size(), file->alignment());
    print_metadata(*file);
    print_tensors(found);
    print_sizes(found);
    const auto remarks = model::remarks(*file);
    if (!remarks.empty()) fmt::print("\nremarks\n");
    for (const std::string& remark : remarks) fmt::print("  {}\n", shown(remark));
  }
  const auto opaque =
      std::ranges::count_if(found.weights, [](const Weights& w) { return !w.decodable; });
  if (opaque > 0) {
    fmt::print(stderr,
               "assay: {} of {} tensors have a type that assay can't decode (it decodes {})\n",
               opaque, found.weights.size(), quant::supported_names());
  }
  return static_cast<int>(Exit::done);
}

}  // namespace

void add_inspect(CLI::App& app, int& exit_code) {
  struct Options {
    std::string model;
    uint32_t context = 0;
    bool json = false;
    bool weights = false;
    bool plan = false;
    std::optional<uint64_t> fault_seed;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("inspect", "Show a model's metadata, tensors, sizes and memory plan");
  command
      ->add_option("-m,--model,MODEL", options->model,
                   "GGUF file, or the name of a known model (default: SmolLM2-135M-Instruct)")
      ->type_name("MODEL");
  CLI::Option* json = command->add_flag("--json", options->json, "Print one JSON object");
  CLI::Option* weights =
      command->add_flag("--weights", options->weights,
                        "Also RMS, largest value, NaN count and SHA-256 of each tensor");
  CLI::Option* plan =
      command
          ->add_flag("--plan", options->plan,
                     "Only the plan that a GPU runs: how operations are fused, and what each node "
                     "writes as f32 or int8")
          ->excludes(json)
          ->excludes(weights);
  add_context_flag(*command, options->context)->needs(plan);
  if (CLI::Option* faults = add_fault_places_flag(*command, options->fault_seed))
    faults->excludes(json)->excludes(weights)->excludes(plan);
  command->callback([options, &exit_code] {
    if (options->fault_seed)
      exit_code =
          inspect_program(options->model, options->context, [&](const op::Program& program) {
            return fault_places(*options->fault_seed, program) + "\n";
          });
    else if (options->plan)
      exit_code = inspect_program(options->model, options->context, [](const op::Program& program) {
        return gpu::text_of_plan(program, gpu::make_plan(program, true));
      });
    else
      exit_code = inspect(options->model, options->json, options->weights);
  });
}
