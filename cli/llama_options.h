// What users of llama.cpp type: its options, and what they are here.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

/// An option of llama.cpp's that assay lacks or calls by another name.
struct LlamaOption {
  enum class Takes { nothing, value, perhaps };  // perhaps: a value only if it is one of `accepted`

  std::string_view names;  ///< "-ngl --gpu-layers"
  Takes takes;
  /// The values for which assay does the same, "*" for all of them; empty: none.
  std::string_view accepted;
  /// Our option of that meaning, "--predict", or with the value that stands for all the accepted
  /// ones, "--kv=f16"; empty: assay does it anyway.
  std::string_view ours;
  std::string_view commands;  ///< the only ones where it is accepted; empty: all
  std::string_view sentence;  ///< what to do instead, after "'-ngl' "
};

/// Null where this is none of them.
const LlamaOption* find_llama_option(std::string_view name);
std::span<const LlamaOption> llama_options();

/// What stands for a command of other programs, as "use 'assay inspect'"; empty: no such command.
std::string_view instead_of_command(std::string_view name);

/// The words of a list with spaces between them.
std::vector<std::string> words_of(std::string_view list);
bool has_word(std::string_view list, std::string_view word);
