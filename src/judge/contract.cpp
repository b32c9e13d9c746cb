#include "judge/contract.h"

#include <algorithm>
#include <utility>

namespace assay::judge {

namespace {

constexpr std::array<std::string_view, families.size()> family_names = {
    "matmul", "attention", "norm", "rope", "residual", "elementwise"};

/// The words of a clause and what they set.
constexpr std::array<std::pair<std::string_view, NumberType Roundings::*>, 6> fields = {
    {{"inputs", &Roundings::inputs},
     {"weights", &Roundings::weights},
     {"products", &Roundings::products},
     {"dots", &Roundings::dots},
     {"sums", &Roundings::sums},
     {"result", &Roundings::result}}};

bool known_base(std::string_view name) {
  return std::ranges::find(contracts(), name) != contracts().end();
}

std::vector<std::string_view> parts_of(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  while (true) {
    const size_t end = text.find(separator);
    std::string_view part = text.substr(0, end);
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    if (!part.empty() || separator != ' ') out.push_back(part);
    if (end == text.npos) return out;
    text.remove_prefix(end + 1);
  }
}

/// The arithmetic of a base whose activations alone, or nothing, is rounded.
Contract from_base(std::string_view name) {
  Contract contract{std::string(name), {}, {}, {}};
  Roundings& attention = contract[Family::attention];
  if (name.starts_with("ggml")) attention.inputs = attention.sums = NumberType::f16;
  if (name == "ggml-cuda") attention.dots = NumberType::f16;
  return contract;
}

std::optional<Contract> base_of(std::string_view text) {
  std::string_view kv;
  if (const size_t at = text.find(" kv="); at != text.npos) {
    kv = text.substr(at + 4);
    text = text.substr(0, at);
  }
  Contract contract;
  if (known_base(text)) {
    contract = from_base(text);
  } else {
    const auto type = number_type_named(text);
    if (!type || *type == NumberType::f64) return std::nullopt;
    for (const Family family : families) contract[family] = all_in(family, *type);
    if (*type != NumberType::tf32) contract.kv = coding_named(text);
  }
  if (kv.empty()) return contract;
  contract.kv = coding_named(kv);
  return contract.kv ? std::optional(contract) : std::nullopt;
}

/// "norm f32", "matmul inputs int8/row weights f32", "kv q8_0".
bool read_clause(std::string_view text, Contract& contract) {
  const auto words = parts_of(text, ' ');
  if (words.size() < 2) return false;
  if (words[0] == "kv" || words[0] == "activations") {
    const auto coding = coding_named(words[1]);
    (words[0] == "kv" ? contract.kv : contract.activations) = coding;
    return coding && words.size() == 2;
  }
  const auto named = std::ranges::find(family_names, words[0]);
  if (named == family_names.end()) return false;
  const Family family = families[size_t(named - family_names.begin())];
  size_t at = 1;
  if (const auto type = number_type_named(words[1])) {
    contract[family] = all_in(family, *type);
    if (family == Family::matmul) contract.activations.reset();
    at = 2;
  }
  for (; at < words.size(); at += 2) {
    const auto field = std::ranges::find(fields, words[at], &decltype(fields)::value_type::first);
    if (field == fields.end() || at + 1 == words.size()) return false;
    const auto type = number_type_named(words[at + 1]);
    const auto coding = coding_named(words[at + 1]);
    if (type && *type != NumberType::f64) {
      contract[family].*field->second = *type;
    } else if (coding && family == Family::matmul && words[at] == "inputs") {
      contract.activations = coding;
      contract[family].inputs = NumberType::f32;
    } else {
      return false;
    }
  }
  return true;
}

/// The words that make `from` the contract's family; empty where it is.
std::string clause_of(Family family, const Contract& from, const Contract& contract) {
  const Roundings& wanted = contract[family];
  const bool coded = family == Family::matmul && contract.activations;
  if (wanted == from[family] && !coded) return "";
  const auto changes = [&](Roundings now) {
    if (coded) now.inputs = NumberType::f32;
    std::string words;
    for (const auto& [name, field] : fields)
      if (wanted.*field != now.*field)
        words += " " + std::string(name) + " " + std::string(name_of(wanted.*field));
    return words;
  };
  std::string best = changes(from[family]);
  for (const NumberType type : {NumberType::f32, NumberType::tf32, NumberType::f16,
                                NumberType::bf16, NumberType::e4m3, NumberType::e5m2}) {
    const std::string other = " " + std::string(name_of(type)) + changes(all_in(family, type));
    if (std::ranges::count(other, ' ') < std::ranges::count(best, ' ')) best = other;
  }
  if (coded) best += " inputs " + name_of(*contract.activations);
  return ", " + std::string(name_of(family)) + best;
}

}  // namespace

std::string_view name_of(Family family) {
  return family_names[size_t(family)];
}

Family family_of(const op::Operation& operation) {
  switch (operation.kind()) {
    case op::Kind::matmul:
    case op::Kind::matmul_experts:
      return Family::matmul;
    case op::Kind::attention:
      return Family::attention;
    case op::Kind::rms_norm:
    case op::Kind::layer_norm:
      return Family::norm;
    case op::Kind::rope:
      return Family::rope;
    case op::Kind::embed:
    case op::Kind::add:
    case op::Kind::mix_experts:
      return Family::residual;
    default:
      return Family::elementwise;
  }
}

bool Roundings::is_coarse() const {
  return std::ranges::any_of(
      fields, [&](const auto& field) { return judge::is_coarse(this->*field.second); });
}

bool Roundings::is_within(const Roundings& other) const {
  return std::ranges::all_of(fields, [&](const auto& field) {
    return half_ulp(this->*field.second) <= half_ulp(other.*field.second);
  });
}

bool Contract::is_coarse() const {
  return activations || std::ranges::any_of(of, &Roundings::is_coarse);
}

std::span<const std::string_view> contracts() {
  static constexpr std::array<std::string_view, 5> names = {"assay/1", "f32", "exact", "ggml-cpu",
                                                            "ggml-cuda"};
  return names;
}

Roundings all_in(Family family, NumberType type) {
  Roundings r;
  const bool kept = type != NumberType::tf32;  // tf32 is what products read, nothing is kept in it
  if (family == Family::matmul || family == Family::attention) r.inputs = type;
  if (kept || family == Family::matmul || family == Family::attention)
    if (family != Family::residual && family != Family::elementwise) r.weights = type;
  if (!kept) return r;
  if (family != Family::matmul && family != Family::residual) r.products = type;
  r.result = type;
  return r;
}

std::optional<Contract> contract_of(std::string_view text) {
  const auto parts = parts_of(text, ',');
  auto contract = base_of(parts[0]);
  for (size_t i = 1; contract && i < parts.size(); ++i)
    if (!read_clause(parts[i], *contract)) return std::nullopt;
  return contract;
}

std::string text_of(const Contract& contract) {
  std::string best;
  const auto offer = [&](std::string_view name) {
    const auto from = base_of(name);
    if (from->base != contract.base) return;
    std::string text(name);
    for (const Family family : families) text += clause_of(family, *from, contract);
    if (contract.kv && contract.kv != from->kv) text += ", kv " + name_of(*contract.kv);
    if (contract_of(text) != contract) return;
    if (best.empty() || std::ranges::count(text, ' ') < std::ranges::count(best, ' ')) best = text;
  };
  offer(contract.base);
  for (const std::string_view type : {"tf32", "f16", "bf16", "e4m3", "e5m2"}) offer(type);
  return best;
}

std::vector<Coding> codings(const Contract& contract, uint32_t weight_type) {
  const Roundings& r = contract[Family::matmul];
  std::vector<Coding> list = base_codings(contract.base, weight_type);
  Coding written = contract.activations.value_or(Coding{.type = r.inputs});
  written.weights = r.weights;
  written.products = r.products;
  written.accumulated = r.sums;
  if (written.is_plain()) return list;
  // What is finer than its contract is right, too.
  if (contract.base != "f32") list.clear();
  list.push_back(written);
  if (written.type == NumberType::tf32 && !written.scaled) {
    written.cut = true;
    list.push_back(written);
  }
  return list;
}

std::vector<Coding> codings(std::string_view contract, uint32_t weight_type) {
  return codings(contract_of(contract).value_or(Contract{}), weight_type);
}

}  // namespace assay::judge
