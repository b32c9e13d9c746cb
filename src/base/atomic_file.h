// Files that are never half written.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace assay {

/// Writes the pieces, in order, to a new file beside `path` and renames it over `path`: a reader
/// sees the old file or the new one. Errors: `path` exists and is not a regular file (a device, a
/// folder, a pipe); cannot write, with the system's reason. A failed write leaves nothing behind.
Status write_atomically(const std::string& path, const std::vector<std::string_view>& pieces);

/// What write_atomically would refuse, asked before there is anything to write: nothing is changed.
Status can_write(const std::string& path);

}  // namespace assay
