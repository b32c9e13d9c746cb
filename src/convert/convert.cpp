#include "convert/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>

#include "base/atomic_file.h"
#include "convert/folder.h"
#include "convert/keys.h"
#include "convert/rows.h"
#include "convert/tokenizer.h"
#include "convert/types.h"
#include "gguf/file.h"
#include "gguf/reader.h"
#include "gguf/writer.h"
#include "model/model.h"
#include "quant/encode.h"
#include "quant/formats.h"
#include "text/tokenizer.h"

namespace assay::convert {
namespace {

using model::Architecture;
using model::Config;

void add_key(gguf::Writer& file, const std::string& key, const model::KeyValue& value) {
  std::visit(
      [&]<class T>(const T& data) {
        if constexpr (std::is_same_v<T, uint32_t>) file.add_u32(key, data);
        if constexpr (std::is_same_v<T, float>) file.add_f32(key, data);
        if constexpr (std::is_same_v<T, bool>) file.add_bool(key, data);
        if constexpr (std::is_same_v<T, std::string>) file.add_string(key, data);
        if constexpr (std::is_same_v<T, std::vector<int32_t>>) file.add_i32_array(key, data);
        if constexpr (std::is_same_v<T, std::vector<float>>) file.add_f32_array(key, data);
        if constexpr (std::is_same_v<T, std::vector<bool>>) file.add_bool_array(key, data);
      },
      value);
}

/// The head is the embedding where the configuration says so, whatever else the folder holds; a
/// copy of it for an architecture whose files hold a head.
Status tie_head(Config& config, const Architecture& architecture, std::vector<Target>& targets) {
  const auto tied = config.flag("tie_word_embeddings");
  if (config.failed()) return config.error();
  const auto is_head = [](const Target& target) { return target.name == "output.weight"; };
  if (tied.value_or(false)) {
    std::erase_if(targets, is_head);
    const auto embedding = std::ranges::find(targets, "token_embd.weight", &Target::name);
    if (architecture.head.weight == model::Presence::required && embedding != targets.end()) {
      Target head = *embedding;
      head.name = "output.weight";
      targets.push_back(std::move(head));
    }
  }
  if (architecture.head.weight == model::Presence::absent &&
      std::ranges::any_of(targets, is_head)) {
    config.fail(
        fmt::format("'tie_word_embeddings' is false; the head of a '{}' file is the embedding",
                    architecture.name));
    return config.error();
  }
  if (tied && !*tied && std::ranges::none_of(targets, is_head)) {
    config.fail("'tie_word_embeddings' is false, but no tensor is the head (lm_head.weight)");
    return config.error();
  }
  return ok();
}

/// What is written, and where it comes from.
struct Job {
  const Folder& folder;
  const Options& options;
  Heads heads;
  uint64_t done = 0, total = 0;
  std::optional<Error> failure;  ///< of a tensor's values, or of the person who stopped it

  /// The bytes of a tensor, nothing after a failure.
  std::vector<uint8_t> produce(const Target& target, uint32_t type) {
    if (failure) return {};
    auto bytes = encode(target, type, heads);
    if (!bytes) {
      failure = bytes.error();
      return {};
    }
    for (const trace::StoredTensor* source : target.sources) folder.release(*source);
    done += bytes->size();
    if (options.progress && !options.progress(done, total)) {
      failure = Error{"interrupted", Exit::interrupted};
      return {};
    }
    return std::move(*bytes);
  }
};

uint64_t bytes_of(const Target& target, uint32_t type) {
  const quant::Info info = quant::info(type);
  uint64_t elements = 1;
  for (const uint64_t dimension : target.shape) elements *= dimension;
  return elements / info.block_size * info.block_bytes;
}

void add_constant(gguf::Writer& file, const Constant& constant) {
  file.add_tensor(constant.name, quant::F32::id, {constant.values.size()}, [&constant] {
    std::vector<uint8_t> bytes(constant.values.size() * sizeof(float));
    std::memcpy(bytes.data(), constant.values.data(), bytes.size());
    return bytes;
  });
}

/// "BF16, F32"
std::string names_of(const std::map<uint32_t, uint64_t>& bytes_by_type) {
  std::vector<std::pair<uint64_t, uint32_t>> order;
  for (const auto& [type, bytes] : bytes_by_type) order.emplace_back(bytes, type);
  std::ranges::sort(order, std::greater());
  std::string names;
  for (const auto& [bytes, type] : order)
    names += (names.empty() ? "" : ", ") + std::string(quant::info(type).name);
  return names;
}

/// The finished file must be one that assay runs: a mistake is better found here than by its user.
Status check(const std::string& path, bool has_tokenizer) {
  const auto file = gguf::File::open(path);
  if (!file) return file.error();
  // Without the context limit of a window that assay does not implement yet.
  const auto window =
      file->unsigned_value(std::string(file->string_value("general.architecture")->value_or("")) +
                           ".attention.sliding_window");
  if (const auto program = model::build(*file, window ? uint32_t(window->value_or(0)) : 0);
      !program)
    return program.error();
  if (!has_tokenizer) return ok();
  const auto tokenizer = text::Tokenizer::open(*file);
  return tokenizer ? ok() : tokenizer.error();
}

/// Without a tokenizer, and with a note, where only the weights are wanted and it can't be converted.
Result<std::string> add_tokenizer_to(gguf::Writer& file, const Folder& folder, Config& config,
                                     const Options& options, std::vector<std::string>& notes) {
  if (options.weights_alone) {
    gguf::Writer tried;
    std::vector<std::string> ignored;
    if (const auto made = add_tokenizer(tried, folder, config, ignored); !made) {
      file.add_string("tokenizer.ggml.model", "none");
      notes.push_back(made.error().message);
      return std::string();
    }
  }
  return add_tokenizer(file, folder, config, notes);
}

}  // namespace

std::string name_of_folder(const std::string& folder) {
  std::error_code failed;
  const auto path = std::filesystem::weakly_canonical(folder, failed);
  return (path.has_filename() ? path.filename() : path.parent_path().filename()).string();
}

Result<uint32_t> type_of_name(std::string_view name) {
  std::string upper(name);
  for (char& c : upper) c = char(std::toupper(static_cast<unsigned char>(c)));
  std::optional<uint32_t> found;
  [&]<class... F>(quant::List<F...>) {
    ((quant::name_of<F> == upper ? void(found = F::id) : void()), ...);
  }(quant::All{});
  if (found && quant::can_encode(*found)) return *found;
  return Error{fmt::format("{} '{}'; {} can be written",
                           found ? "assay cannot write the type" : "there is no type",
                           gguf::printable(name), quant::encodable_names())};
}

Result<Converted> convert(const std::string& path, const std::string& output,
                          const Options& options) {
  auto folder = Folder::open(path);
  if (!folder) return folder.error();
  if (folder->holds(output))
    return Error{fmt::format("{}: this is a file of the folder that is to be converted", output)};
  if (Status writable = can_write(output); !writable) return writable.error();
  const auto text = folder->text("config.json");
  if (!text) return text.error();
  if (!*text) return Error{fmt::format("{}: config.json is missing", path)};
  auto config = Config::parse(**text, folder->path_of("config.json"));
  if (!config) return config.error();
  const auto architecture = model::architecture_of(*config);
  if (!architecture) return architecture.error();
  const std::string name((*architecture)->name);
  auto settings = read_settings(*config, **architecture);
  if (!settings) return settings.error();
  Job job{*folder, options, heads_of(*config), 0, 0, {}};
  if (config->failed()) return config->error();

  if (Status opened = folder->open_tensors(); !opened) return opened.error();
  if (Status read = read_numbers(folder->tensors(), **architecture, *config, settings->keys); !read)
    return Error{fmt::format("{}: {}", path, read.error().message)};
  auto targets = find_targets(folder->tensors(), **architecture, *config, job.heads);
  if (!targets) return Error{fmt::format("{}: {}", path, targets.error().message)};
  for (Target& target : *targets)
    for (const trace::StoredTensor* source : target.sources)
      if (source->dtype == "MXFP4") target.scales.push_back(folder->scales_of(source->name));
  if (Status tied = tie_head(*config, **architecture, *targets); !tied) return tied.error();

  Converted result;
  result.architecture = name;
  const auto types = choose_types(*targets, options.type, result.notes);
  if (!types) return Error{fmt::format("{}: {}", path, types.error().message)};
  gguf::Writer file;
  file.add_string("general.architecture", name);
  file.add_string("general.type", "model");
  file.add_string("general.name", name_of_folder(path));
  file.add_u32("general.file_type", types->file_type);
  file.add_u32("general.quantization_version", 2);
  for (const auto& [key, value] : settings->keys.all())
    add_key(file, key.starts_with('.') ? key.substr(1) : name + "." + key, value);
  const auto tokenizer = add_tokenizer_to(file, *folder, *config, options, result.notes);
  if (!tokenizer) return tokenizer.error();
  result.tokenizer = *tokenizer;

  std::map<uint32_t, uint64_t> bytes_by_type;
  for (size_t i = 0; i < targets->size(); ++i) {
    const Target& target = (*targets)[i];
    const uint32_t type = types->of_targets[i];
    job.total += bytes_of(target, type);
    bytes_by_type[type] += bytes_of(target, type);
    file.add_tensor(target.name, type, {target.shape.rbegin(), target.shape.rend()},
                    [&job, &target, type] { return job.produce(target, type); });
  }
  for (const Constant& constant : settings->constants) add_constant(file, constant);
  const Status written = file.write(output, [&](const std::string& part) -> Status {
    const Status good = check(part, !result.tokenizer.empty());
    if (good) return ok();
    return Error{fmt::format("{}: assay could not run the file: {}", path, good.error().message)};
  });
  if (job.failure)
    return Error{job.failure->exit == Exit::interrupted
                     ? job.failure->message
                     : fmt::format("{}: {}", path, job.failure->message),
                 job.failure->exit};
  if (!written) return written.error();
  result.tensors = targets->size() + settings->constants.size();
  std::error_code failed;
  result.bytes = std::filesystem::file_size(output, failed);
  result.types = names_of(bytes_by_type);
  return result;
}

}  // namespace assay::convert
