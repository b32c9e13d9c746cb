// Names of a trace's tensors that no operation of the model has.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "op/program.h"
#include "trace/trace_file.h"

namespace assay::diff {

/// What a trace of this program may hold, beside its operations: the cache, and attention's scores.
std::set<std::string> known_names(const op::Program& program);
/// The known name that `name` is perhaps a spelling of; empty: none is near.
std::string nearest_name(const std::set<std::string>& known, std::string_view name);

struct UnknownName {
  std::string key;      ///< as the file has it
  std::string nearest;  ///< the key that is perhaps meant; empty where none is near
};

/// In the order of the file. Views and inner steps of llama.cpp's graphs are not among them.
std::vector<UnknownName> unknown_names(const op::Program& program, const trace::Trace& trace);

/// "2 tensors have names that are not known, so nothing of them was judged: '000003.blk.0.Q' (did you
/// mean '000003.blk.0.q'?), …"; empty where there are none.
std::string sentence_of(const std::vector<UnknownName>& unknown);

}  // namespace assay::diff
