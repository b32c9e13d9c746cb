// JSON inside a file's metadata, which is hostile input: a deeply nested list would take eighty
// bytes of memory per byte of the file.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace assay::trace {

/// Like nlohmann's parser, but drops everything nested deeper than a list of objects of lists of
/// numbers while it reads. The result is discarded() if the text is not JSON.
inline nlohmann::json parse_shallow(const std::string& text) {
  const auto shallow = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    return depth <= 3;
  };
  return nlohmann::json::parse(text, shallow, false);
}

}  // namespace assay::trace
