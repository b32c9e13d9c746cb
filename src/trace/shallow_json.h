// JSON inside a file's metadata, which is hostile: a list nested a million deep would take eighty
// bytes in memory for one in the file.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace assay::trace {

/// As nlohmann's parser, but what stands deeper than a list of objects of lists of numbers is
/// thrown away at once. Discarded where the text is no JSON.
inline nlohmann::json parse_shallow(const std::string& text) {
  const auto shallow = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    return depth <= 3;
  };
  return nlohmann::json::parse(text, shallow, false);
}

}  // namespace assay::trace
