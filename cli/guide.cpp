#include "guide.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "base/atomic_file.h"
#include "common.h"

namespace {

int write_guide(const std::string& folder) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed)
    return report({fmt::format("cannot make the folder {}: {}", folder, failed.message())});
  for (const GuidePage& page : guide_pages()) {
    const std::string path = (std::filesystem::path(folder) / page.name).string();
    if (const auto written = assay::write_atomically(path, {page.text}); !written)
      return report(written.error());
  }
  fmt::print(stderr, "wrote SKILL.md and {} pages to {}\n", guide_pages().size() - 1,
             escaped(folder, false));
  return 0;
}

}  // namespace

void add_guide(CLI::App& app, int& exit_code) {
  auto folder = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "guide", "Write the guide for coding agents: a folder with SKILL.md and its pages");
  command
      ->add_option("--for-agents", *folder,
                   "the folder; pages of the same names are replaced, other files stay")
      ->type_name("DIR")
      ->required();
  command->callback([folder, &exit_code] { exit_code = write_guide(*folder); });
}
