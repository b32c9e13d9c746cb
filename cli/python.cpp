#include "python.h"

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "child.h"
#include "common.h"

using assay::Error;
using assay::Result;

extern char** environ;

void add_llama_cpp_flags(CLI::App& command, LlamaCppFlags& flags) {
  command.add_option("--flash", flags.flash, "llama.cpp's flash attention")
      ->check(CLI::IsMember({"auto", "on", "off"}))
      ->capture_default_str();
  command.add_option("--gpu-layers", flags.gpu_layers, "layers that llama.cpp gives to its GPU")
      ->type_name("N")
      ->check(between(0, 10000));
  command
      .add_option("--python", flags.python,
                  "Python with llama-cpp-python (default: $ASSAY_PYTHON, else python3)")
      ->type_name("PROGRAM");
}

namespace {

/// The folder that holds the package `assay`: of a checkout for a program in its build folder, of
/// the installation for an installed one; empty where it is in neither.
std::string package_folder() {
  std::error_code failed;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", failed);
  if (failed) return "";
  for (const char* place : {"../../python", "../share/assay/python"}) {
    const auto folder = program.parent_path() / place;
    if (std::filesystem::exists(folder / "assay" / "capture.py", failed))
      return std::filesystem::weakly_canonical(folder, failed).string();
  }
  return "";
}

std::vector<std::string> environment() {
  std::vector<std::string> out;
  std::string path = package_folder();
  for (char** entry = environ; *entry; ++entry) {
    const std::string text = *entry;
    if (text.starts_with("PYTHONPATH="))
      path += (path.empty() ? "" : ":") + text.substr(std::strlen("PYTHONPATH="));
    else
      out.push_back(text);
  }
  if (!path.empty()) out.push_back("PYTHONPATH=" + path);
  return out;
}

}  // namespace

PythonModule python_module(const std::string& python, const std::string& module,
                           const std::vector<std::string>& arguments) {
  const char* set = std::getenv("ASSAY_PYTHON");
  PythonModule made;
  made.program = !python.empty() ? python : set && *set ? set : "python3";
  made.command = {made.program, "-m", module};
  made.command.insert(made.command.end(), arguments.begin(), arguments.end());
  made.environment = environment();
  return made;
}

Error why_ended(const PythonModule& module, const std::string& name, const std::string& err,
                const std::string& how) {
  const std::string line = last_line(err);
  if (line.find("No module named assay") != line.npos)
    return Error{fmt::format(
        "'{}' does not find assay's Python package; PYTHONPATH must name the folder python/ of "
        "assay's source",
        module.program)};
  // The package's own refusals are sentences.
  const std::string own = name + ": ";
  if (line.starts_with(own)) return Error{line.substr(own.size())};
  return Error{fmt::format("'{} -m {}' {}", module.program, name, how)};
}

Result<std::string> run_capture(const std::string& python,
                                const std::vector<std::string>& arguments) {
  const std::string name = "assay.capture";
  const PythonModule module = python_module(python, name, arguments);
  const auto ended = run_child(module.command, module.environment);
  if (!ended)
    return Error{ended.error().message +
                 "; --python PROGRAM or ASSAY_PYTHON names the Python to be used"};
  if (ended->succeeded()) return ended->err;
  return why_ended(module, name, ended->err, ended->how());
}
