#include "jinja/text.h"

#include <algorithm>

namespace assay::jinja {

void Text::mark(uint64_t begin, Origin origin) {
  if (origins.empty() && origin == Origin::own) return;
  if (begin == bytes.size()) return;
  origins.resize(begin, static_cast<char>(Origin::own));
  origins.resize(bytes.size(), static_cast<char>(origin));
}

Text& Text::operator+=(std::string_view own) {
  const uint64_t begin = bytes.size();
  bytes += own;
  mark(begin, Origin::own);
  return *this;
}

Text& Text::append(const Text& other, uint64_t begin, uint64_t count) {
  const uint64_t before = bytes.size();
  bytes.append(other.bytes, begin, count);
  if (other.is_own()) {
    mark(before, Origin::own);
  } else {
    origins.resize(before, static_cast<char>(Origin::own));
    origins.append(other.origins, begin, count);
  }
  return *this;
}

Text Text::part(uint64_t begin, uint64_t count) const {
  Text made;
  made.bytes = bytes.substr(begin, count);
  if (!is_own()) made.origins = origins.substr(begin, count);
  const auto own = [](char c) { return Origin{c} == Origin::own; };
  if (std::all_of(made.origins.begin(), made.origins.end(), own)) made.origins.clear();
  return made;
}

Text Text::part(std::string_view inside) const {
  if (inside.empty()) return {};
  return part(static_cast<uint64_t>(inside.data() - bytes.data()), inside.size());
}

}  // namespace assay::jinja
