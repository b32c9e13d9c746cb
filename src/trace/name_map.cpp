#include "trace/name_map.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <set>

#include "base/read_file.h"

namespace assay::trace {

namespace {

constexpr std::string_view layer = "{n}";
constexpr size_t longest_file = 1 << 20, most_names = 10000;

bool has_layer(std::string_view name) {
  return name.find(layer) != name.npos;
}

std::string with_layer(const std::string& name, std::string_view number) {
  const size_t at = name.find(layer);
  return at == name.npos
             ? name
             : name.substr(0, at) + std::string(number) + name.substr(at + layer.size());
}

}  // namespace

Result<NameMap> NameMap::open(const std::string& path) {
  const auto bytes = read_file(path, "names");
  if (!bytes) return bytes.error();
  return parse(std::string(bytes->begin(), bytes->end()), path);
}

NameMap NameMap::as_they_are() {
  NameMap map;
  map.as_they_are_ = true;
  return map;
}

Result<NameMap> NameMap::parse(const std::string& text, const std::string& path) {
  const auto refuse = [&](const std::string& what) { return Error{path + ": " + what}; };
  if (text.size() > longest_file) return refuse("a file of names has at most 1 MiB");
  NameMap map;
  std::set<std::string> seen;
  try {
    const YAML::Node root = YAML::Load(text);
    if (!root.IsMap())
      return refuse("this is no map of names, with a line 'model.norm: out_norm' for each");
    if (root.size() > most_names)
      return refuse(fmt::format("a file of names has at most {} of them", most_names));
    for (const auto& entry : root) {
      if (!entry.first.IsScalar() || !(entry.second.IsScalar() || entry.second.IsNull()))
        return refuse(
            fmt::format("line {}: this is no pair of names", entry.first.Mark().line + 1));
      const std::string name = entry.first.Scalar();
      MappedName mapped;
      if (entry.second.IsScalar()) mapped.canonical = entry.second.Scalar();
      constexpr std::string_view halves = " halves";
      if (mapped.canonical.ends_with(halves)) {
        mapped.canonical.resize(mapped.canonical.size() - halves.size());
        mapped.halves = true;
      }
      if (mapped.canonical.find(' ') != std::string::npos)
        return refuse(fmt::format("'{}' is no name of an operation", mapped.canonical));
      if (has_layer(mapped.canonical) && !has_layer(name))
        return refuse(fmt::format("'{}' has no {{n}}, and '{}' has", name, mapped.canonical));
      if (!mapped.canonical.empty() && has_layer(name) && !has_layer(mapped.canonical))
        return refuse(fmt::format("'{}' has no {{n}}, and '{}' has", mapped.canonical, name));
      if (!seen.insert(name).second) return refuse(fmt::format("'{}' stands there twice", name));
      if (!has_layer(name)) {
        map.names_.emplace(name, mapped);
        continue;
      }
      const size_t at = name.find(layer);
      map.patterns_.push_back({name.substr(0, at), name.substr(at + layer.size()), mapped});
    }
  } catch (const YAML::Exception& wrong) {
    return refuse(fmt::format("this is not YAML: {}", wrong.what()));
  }
  return map;
}

std::optional<MappedName> NameMap::find(std::string_view name) const {
  if (as_they_are_) return MappedName{std::string(name)};
  if (const auto found = names_.find(name); found != names_.end()) return found->second;
  for (const Pattern& pattern : patterns_) {
    if (name.size() <= pattern.before.size() + pattern.after.size() ||
        !name.starts_with(pattern.before) || !name.ends_with(pattern.after))
      continue;
    const std::string_view number = name.substr(
        pattern.before.size(), name.size() - pattern.before.size() - pattern.after.size());
    if (!std::ranges::all_of(number, [](char c) { return c >= '0' && c <= '9'; })) continue;
    return MappedName{with_layer(pattern.mapped.canonical, number), pattern.mapped.halves};
  }
  return std::nullopt;
}

}  // namespace assay::trace
