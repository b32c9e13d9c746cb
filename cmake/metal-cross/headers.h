// The headers of the libraries, read and compiled once for all sources of metal-cross (scripts/metal_cross.py). A source
// still includes what it needs: this file only saves time, and nothing but metal-cross sees it.
#pragma once
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

// What most sources instantiate: then its code is in headers.o alone.
template class std::vector<int>;
template class std::vector<std::uint8_t>;
template class std::vector<std::uint32_t>;
template class std::vector<float>;
template class std::vector<double>;
template class std::vector<std::string>;
template class nlohmann::basic_json<nlohmann::ordered_map>;

namespace metal_cross {
inline void common_uses(CLI::App& app, std::string& text, int& number, bool& flag,
                        std::vector<std::string>& texts, nlohmann::ordered_json& json) {
  app.add_option("-t", text, text);
  app.add_option("-n", number, text);
  app.add_option("-l", texts, text);
  app.add_flag("-f", flag, text);
  text = fmt::format("{}{}", text, json.dump()) + fmt::format("{}{}{}", text, text, text);
  text += fmt::format("{} {} {}", number, std::string_view(text), texts.size());
  json = nlohmann::ordered_json::parse(text, nullptr, false);
  json["t"] = text;
  json["n"] = number;
}
}  // namespace metal_cross
