// What the keys of a GGUF file mean to a decoder. One table holds for all architectures; an
// architecture has a short list of its own, which goes first. docs/models.md has it in words.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "gguf/file.h"

namespace assay::model {

enum class Use {
  read,      ///< it enters the program, or is checked against what does
  by_trait,  ///< the same where the architecture's traits ask for it (architecture.h); else ignored
  neutral,   ///< not implemented: only a value that switches the feature off is accepted
  ignored    ///< means nothing to these models, whatever its value
};

struct KeyRow {
  std::string_view name;  ///< without "ARCHITECTURE."; at its end, '*' stands for anything
  Use use;
  std::string_view note;  ///< the default and the edge values, or why it is ignored
};

/// The table of all architectures.
std::span<const KeyRow> common_keys();

/// The row of a key, from an architecture's own list or the common table; nullptr where neither
/// has one.
const KeyRow* find_key(std::string_view name, std::span<const KeyRow> own);

/// Whether a name is one that the pattern, with one '*' at most, stands for.
bool fits(std::string_view pattern, std::string_view name);

/// True if the value switches a feature off: 0, false, "", "none", and lists of nothing else. For a
/// multiplier (a name that ends in "scale", "factor" or "multiplier") 1 does too, for a mapping any
/// negative index.
bool is_neutral(std::string_view name, const gguf::Value& value);

/// Refuses, by name, a key of this architecture that is not neutral and whose meaning assay does
/// not implement: one that the table says so of, or that no table has.
Status check_keys(const gguf::File& file, std::string_view architecture,
                  std::span<const KeyRow> own);

}  // namespace assay::model
