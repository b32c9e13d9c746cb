#include "convert.h"

#include <fmt/format.h>

#include <memory>

#include "common.h"
#include "convert/convert.h"
#include "quant/encode.h"

namespace {

struct Flags {
  std::string folder, output, type;
};

int convert(const Flags& flags) {
  assay::convert::Options options;
  if (!flags.type.empty()) {
    const auto type = assay::convert::type_of_name(flags.type);
    if (!type) return report(type.error());
    options.type = *type;
  }
  catch_interrupt();
  Progress bar("convert");
  options.progress = [&](uint64_t done, uint64_t total) {
    bar.show(done, total);
    return !interrupted;
  };
  const auto made = assay::convert::convert(flags.folder, flags.output, options);
  bar.erase();
  if (!made) return report(made.error());
  for (const std::string& note : made->notes) fmt::print(stderr, "assay: {}\n", note);
  fmt::print("{}: {}, {} tensors ({}), {}, {} bytes\n", escaped(flags.output, false),
             made->architecture, made->tensors, made->types,
             made->tokenizer.empty() ? "no tokenizer" : "tokenizer " + made->tokenizer,
             made->bytes);
  return 0;
}

}  // namespace

void add_convert(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "convert", "Write a GGUF file from a Hugging Face folder (config.json and safetensors)");
  command->add_option("folder", flags->folder, "folder with config.json and model.safetensors")
      ->type_name("DIR")
      ->required();
  command->add_option("-o,--output", flags->output, "file to write")->type_name("FILE")->required();
  command
      ->add_option("--type", flags->type,
                   fmt::format("type of the matrices, of {}; without it each has the folder's",
                               assay::quant::encodable_names()))
      ->type_name("TYPE");
  command->callback([flags, &exit_code] { exit_code = convert(*flags); });
}
