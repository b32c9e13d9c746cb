#include "convert/keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "gguf/reader.h"

namespace assay::convert {
namespace {

using model::Architecture;
using model::Config;
using model::ConfigRow;
using model::FieldType;

/// The alternatives of "a|b".
std::vector<std::string_view> parts_of(std::string_view list) {
  std::vector<std::string_view> parts;
  while (!list.empty()) {
    const size_t bar = std::min(list.find('|'), list.size());
    parts.push_back(list.substr(0, bar));
    list.remove_prefix(std::min(bar + 1, list.size()));
  }
  return parts;
}

bool hides(const ConfigRow& own, const ConfigRow& common) {
  if (!own.key.empty() && own.key == common.key) return true;
  const auto theirs = parts_of(common.fields);
  return common.key.empty() && std::ranges::any_of(parts_of(own.fields), [&](auto field) {
           return std::ranges::find(theirs, field) != theirs.end();
         });
}

void check_value(Config& config, const ConfigRow& row, std::string_view architecture) {
  const auto allowed = parts_of(row.only);
  const std::string value = config.shown(row.fields);
  if (allowed.empty() || !config.has(row.fields) ||
      std::ranges::find(allowed, value) != allowed.end())
    return;
  config.fail(fmt::format("'{}' is {}; assay's '{}' has {} only", row.fields,
                          gguf::printable(value), architecture, fmt::join(allowed, " and ")));
}

void read_row(Config& config, const ConfigRow& row, const Architecture& architecture,
              model::Keys& keys) {
  check_value(config, row, architecture.name);
  if (row.required && !config.has(row.fields))
    config.fail(fmt::format("'{}' is missing", row.fields));
  if (row.key.empty()) return;
  const auto set = [&](auto value) {
    if (!value) return;
    if constexpr (std::is_same_v<decltype(*value), double&>)
      keys.set(row.key, float(*value));
    else
      keys.set(row.key, *value);
  };
  switch (row.type) {
    case FieldType::integer:
      return set(config.integer(row.fields));
    case FieldType::real:
      return set(config.real(row.fields));
    case FieldType::flag:
      return set(config.flag(row.fields));
    case FieldType::text:
      return set(config.text(row.fields));
  }
}

/// A key that the reader does not look at would be a number that is lost without a sign.
void check_read(Config& config, const Architecture& architecture, const model::Keys& keys) {
  for (const auto& [name, value] : keys.all()) {
    if (name.starts_with('.')) continue;  // the table is of the architecture's keys
    const model::KeyRow* row = model::find_key(name, architecture.keys);
    if (!row) throw std::logic_error("no row of the key table has " + name);
    if (row->use == model::Use::ignored)
      config.fail(fmt::format("it sets what {}.{} says, and assay's '{}' does not implement that",
                              architecture.name, name, architecture.name));
  }
}

}  // namespace

Result<Settings> read_settings(Config& config, const Architecture& architecture) {
  Settings settings;
  const auto& own = architecture.conversion.config;
  for (const ConfigRow& row : model::common_config())
    if (std::ranges::none_of(own, [&](const ConfigRow& mine) { return hides(mine, row); }))
      read_row(config, row, architecture, settings.keys);
  for (const ConfigRow& row : own) read_row(config, row, architecture, settings.keys);
  if (architecture.conversion.more && !config.failed())
    architecture.conversion.more(config, settings.keys);
  if (!config.failed()) read_rope(config, architecture, settings);
  if (!config.failed()) check_read(config, architecture, settings.keys);
  if (config.failed()) return config.error();
  return settings;
}

}  // namespace assay::convert
