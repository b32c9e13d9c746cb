// What an engine rounds, and to which type: per family of operations, the inputs, the products, the
// sums and the result, and how it codes activations and the cache. A contract is written as
// docs/diagnosis.md says: "assay/1", "bf16", "f32, matmul inputs int8/row, kv q8_0".
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "judge/coding.h"
#include "op/operation.h"

namespace assay::judge {

/// Operations that engines compute in one way.
enum class Family : uint8_t {
  matmul,
  attention,
  norm,
  rope,
  residual,  ///< the stream from block to block: embeddings, sums, the mix of experts
  elementwise
};
inline constexpr std::array families = {Family::matmul, Family::attention, Family::norm,
                                        Family::rope,   Family::residual,  Family::elementwise};
std::string_view name_of(Family family);
Family family_of(const op::Operation& operation);

/// Where one family of operations rounds.
struct Roundings {
  /// What is read. In attention: the queries.
  NumberType inputs = NumberType::f32;
  /// What the inputs are multiplied with: matrices, norms' weights, cos and sin, the softmax.
  NumberType weights = NumberType::f32;
  /// What is between inputs and result: products; attention's scores; a norm before its weight; an
  /// activation before it meets `up`.
  NumberType products = NumberType::f32;
  NumberType dots = NumberType::f32;  ///< attention: the sums that make a score
  NumberType sums = NumberType::f32;  ///< partial sums, in an order that is the engine's
  NumberType result = NumberType::f32;

  bool operator==(const Roundings&) const = default;
  bool is_coarse() const;
  /// Whether nothing is rounded to a coarser type than in `other`.
  bool is_within(const Roundings& other) const;
};

struct Contract {
  /// Whose rules hold where nothing else is said: one of contracts().
  std::string base = "f32";
  std::array<Roundings, families.size()> of = {};
  std::optional<Coding> activations = {};  ///< of matmuls, instead of the base's
  std::optional<Coding> kv = {};           ///< instead of the base's

  Roundings& operator[](Family family) { return of[size_t(family)]; }
  const Roundings& operator[](Family family) const { return of[size_t(family)]; }
  bool operator==(const Contract&) const = default;
  bool is_coarse() const;
};

/// The names of bases: assay/1, f32, exact, ggml-cpu, ggml-cuda.
std::span<const std::string_view> contracts();

/// Empty where the text is no contract.
std::optional<Contract> contract_of(std::string_view text);
/// The shortest text.
std::string text_of(const Contract& contract);
/// A family whose engine keeps everything but its sums in this type.
Roundings all_in(Family family, NumberType type);

/// Per weight type, the codings that engines of the contract may use, finest first; the first one
/// that fits is taken. An unknown contract is taken as f32.
std::vector<Coding> codings(const Contract& contract, uint32_t weight_type);
std::vector<Coding> codings(std::string_view contract, uint32_t weight_type);

}  // namespace assay::judge
