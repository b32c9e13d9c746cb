#include "text/best_path.h"

#include <fmt/format.h>

#include <cmath>

#include "gguf/reader.h"
#include "text/utf8.h"

namespace assay::text {
namespace {

constexpr double parts_of_a_score = 1e4;
constexpr int64_t cost_of_bytes = 10'000'000, forbidden_cost = 2 * cost_of_bytes;

}  // namespace

BestPath::Node& BestPath::node_of(std::string_view spelling) {
  uint32_t node = 0;
  for (const char byte : spelling) {
    const auto [place, inserted] =
        children_.try_emplace(edge(node, byte), static_cast<uint32_t>(nodes_.size()));
    if (inserted) nodes_.emplace_back();
    node = place->second;
  }
  return nodes_[node];
}

Result<BestPath> BestPath::build(const Vocabulary& vocabulary) {
  BestPath result;
  const auto bytes = byte_tokens(vocabulary);
  if (!bytes) return bytes.error();
  result.bytes_ = *bytes;
  for (uint64_t id = 0; id < vocabulary.spellings.size(); ++id) {
    const std::string_view spelling = vocabulary.spellings[id];
    if (spelling.empty() || !reached_by_text(vocabulary.types[id])) continue;
    const double score = vocabulary.scores[id];
    const double cost = -std::round(score * parts_of_a_score);
    if (!(std::abs(cost) < double(forbidden_cost))) continue;  // no path goes there
    Node& node = result.node_of(spelling);
    if (node.token >= 0) {
      return Error{fmt::format("tokens {} and {} have the same spelling '{}'", node.token, id,
                               gguf::printable(spelling))};
    }
    node = {static_cast<int32_t>(id), static_cast<int64_t>(cost)};
  }
  return result;
}

/// The first piece of the best way from `rest` on; steps[i] is that from its byte i on.
BestPath::Step BestPath::best_step(std::string_view rest, const Step* steps) const {
  const uint64_t length = first_character(rest).length;
  Step best{steps[length].cost + cost_of_bytes, length, -1};
  uint32_t node = 0;
  for (uint64_t i = 0; i < rest.size(); ++i) {
    const auto found = children_.find(edge(node, rest[i]));
    if (found == children_.end()) break;
    node = found->second;
    const bool inside_a_character = i + 1 < rest.size() && steps[i + 1].length == 0;
    if (nodes_[node].token < 0 || inside_a_character) continue;
    const int64_t cost = steps[i + 1].cost + nodes_[node].cost;
    if (cost <= best.cost) best = {cost, i + 1, nodes_[node].token};
  }
  return best;
}

void BestPath::encode(std::string_view text, std::vector<int32_t>& tokens, LostBytes& lost) const {
  std::vector<Step> steps(text.size() + 1);
  std::vector<uint64_t> begins;
  for (uint64_t i = 0; i < text.size(); i += first_character(text.substr(i)).length)
    begins.push_back(i);
  for (auto i = begins.rbegin(); i != begins.rend(); ++i)
    steps[*i] = best_step(text.substr(*i), &steps[*i]);
  for (uint64_t i = 0; i < text.size(); i += steps[i].length) {
    if (steps[i].token >= 0) {
      tokens.push_back(steps[i].token);
      continue;
    }
    for (const char byte : text.substr(i, steps[i].length)) {
      const int32_t token = bytes_[static_cast<uint8_t>(byte)];
      if (token >= 0) {
        tokens.push_back(token);
      } else {
        ++lost[static_cast<uint8_t>(byte)];
      }
    }
  }
}

}  // namespace assay::text
