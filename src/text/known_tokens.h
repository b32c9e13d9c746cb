// Special tokens known by their spelling, because many files leave out their ids or their type.
#pragma once

#include <optional>
#include <string_view>

namespace assay::text {

struct KnownToken {
  bool ends_generation;
  bool where_special;  ///< only where the file types it as control or user-defined: text says this
};

/// What a token of this spelling is; nothing for ordinary ones. The list is llama.cpp's; ends of
/// generation count the fill-in-the-middle padding and separators.
std::optional<KnownToken> known_token(std::string_view spelling);

}  // namespace assay::text
