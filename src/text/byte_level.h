// GPT-2's map of the 256 bytes to 256 printable letters, in which byte-level vocabularies are
// spelled: the bytes 33..126, 161..172 and 174..255 are the letters of the same code point, the
// other 68 in ascending order are U+0100, U+0101, … (so a space is U+0120, a newline U+010A).
// Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", 2.2.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace assay::text {

/// The bytes that `letters` spells; nothing where some character is not one of the 256 letters.
std::optional<std::string> bytes_of_letters(std::string_view letters);

}  // namespace assay::text
