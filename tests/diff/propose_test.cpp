// Names that are proposed by shape and value, on a trace of llama.cpp whose own names are known.
#include "diff/propose.h"

#include <map>

#include "diff/support.h"
#include "trace/llama_names.h"

namespace assay::diff {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::StartsWith;

trace::Trace llama_cpp_trace(trace::NameMap names) {
  auto trace =
      trace::Trace::open((data / "traces" / "kjv_8_flash.safetensors").string(), std::move(names));
  EXPECT_TRUE(trace) << trace.error().message;
  return std::move(*trace);
}

Proposal proposed(const trace::Trace& trace) {
  auto proposal = propose_names(kjv_program(), trace);
  EXPECT_TRUE(proposal) << proposal.error().message;
  return proposal ? std::move(*proposal) : Proposal();
}

std::string canonical(const std::string& name) {
  const size_t dot = name.rfind('.');
  return trace::from_llama_cpp(name.substr(0, dot), name.substr(dot + 1)).canonical;
}

TEST(Propose, EveryOperationOfLlamaCppIsFoundByItsValues) {
  const Proposal proposal = proposed(llama_cpp_trace(trace::NameMap::as_they_are()));
  std::map<std::string, std::string> by_operation;
  for (const Placed& placed : proposal.placed) {
    // Attention's own node has no name.
    if (placed.tensor.ends_with(".FLASH_ATTN_EXT")) {
      EXPECT_TRUE(placed.operation.ends_with(".kqv")) << placed.operation;
    } else {
      EXPECT_EQ(canonical(placed.tensor), placed.operation) << placed.tensor;
    }
    EXPECT_EQ(name_of(placed.evidence), "values") << placed.tensor;
    EXPECT_TRUE(is_sure(placed)) << placed.tensor << " " << placed.error << " " << placed.next;
    EXPECT_FALSE(placed.halves) << placed.tensor;
    by_operation[placed.operation] = placed.tensor;
  }
  for (const op::Operation& operation : kjv_program().operations) {
    if (operation.output == op::none || operation.is<op::SelectRows>()) continue;
    EXPECT_TRUE(by_operation.contains(operation.name)) << operation.name;
  }
  EXPECT_THAT(proposal.missing, ::testing::IsEmpty());
}

TEST(Propose, TheFileSaysItForAllLayersAtOnce) {
  const std::string yaml = to_yaml(proposed(llama_cpp_trace(trace::NameMap::as_they_are())));
  EXPECT_THAT(yaml, HasSubstr("\nQcur-{n}.ROPE: blk.{n}.q_rope  # 6 layers, sure: off by "));
  EXPECT_THAT(yaml, StartsWith("embd.GET_ROWS: embd  # sure: off by "));
  // What is written is read again.
  const auto names = trace::NameMap::parse(yaml, "x.yaml");
  ASSERT_TRUE(names) << names.error().message;
  EXPECT_EQ(names->find("l_out-5.ADD")->canonical, "blk.5.out");
}

TEST(Propose, WhatIsNotPlacedIsSaid) {
  const trace::Trace trace = llama_cpp_trace(trace::NameMap::as_they_are());
  const Proposal proposal = proposed(trace);
  // Norms without their weights are a step inside.
  std::vector<std::string> left;
  for (const NotPlaced& one : proposal.left) left.push_back(one.tensor);
  EXPECT_THAT(left, Contains("norm-0.RMS_NORM"));
  EXPECT_THAT(to_yaml(proposal), HasSubstr("# not placed: norm-{n}.RMS_NORM"));
}

}  // namespace
}  // namespace assay::diff
