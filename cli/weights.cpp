#include "weights.h"

#include <fmt/format.h>

#include <filesystem>

#include "common.h"
#include "convert/convert.h"

using assay::Error;
using assay::Result;

Result<Weights> open_weights(const std::string& path) {
  std::error_code ignored;
  std::optional<TemporaryFolder> folder;
  std::string file = path;
  if (std::filesystem::is_directory(path, ignored)) {
    auto made = TemporaryFolder::make();
    if (!made) return made.error();
    folder.emplace(std::move(*made));
    file = folder->file(assay::convert::name_of_folder(path) + ".gguf");
    Progress bar("read the folder");
    assay::convert::Options options;
    options.weights_alone = true;
    options.progress = [&](uint64_t done, uint64_t total) {
      bar.show(done, total);
      return true;
    };
    const auto converted = assay::convert::convert(path, file, options);
    bar.erase();
    if (!converted) return converted.error();
    for (const std::string& note : converted->notes)
      if (verbose) fmt::print(stderr, "assay: {}\n", escaped(note, false));
  }
  auto opened = assay::gguf::File::open(file);
  if (!opened) return opened.error();
  return Weights{path, std::move(folder), std::move(*opened)};
}

void add_names_flag(CLI::App& command, std::string& path) {
  command
      .add_option("--names", path,
                  "what the trace calls its tensors, as 'assay trace names' writes it")
      ->type_name("FILE.yaml");
}

Result<assay::trace::NameMap> read_names(const std::string& path) {
  if (path.empty()) return assay::trace::NameMap();
  return assay::trace::NameMap::open(path);
}
