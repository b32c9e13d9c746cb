// Proves a device: every element of every operation is inside the bounds of the f64 judge, and has
// the bits that the contract's plainest executor gives. See docs/verify.md.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "op/executor.h"
#include "verify/stored.h"
#include "verify/synthetic.h"

namespace assay::verify {

/// `isa` and `threads` of the options choose the path.
using Factory = std::function<Result<std::unique_ptr<op::Executor>>(const op::Program&,
                                                                    const op::ExecutorOptions&)>;

/// One way to run a device; "" and 0 leave the choice to the device.
struct Path {
  std::string isa;
  uint32_t threads = 0;
};

struct Settings {
  Factory device;           ///< what is proven
  Path path;                ///< as its users run it
  std::vector<Path> paths;  ///< other ways to run it, which must give the same bits
  Factory plain;            ///< the contract's plainest executor: the bits that count
  uint32_t judges = 1;      ///< threads of the judge
  Level level = Level::quick;
  const Stored* stored = &stored_bits();  ///< made elsewhere: the rows must have these hashes
  const op::Program* model = nullptr;     ///< none: the synthetic part alone
  std::vector<int32_t> tokens;            ///< the model's prompt and what follows it
  std::function<void(uint64_t done, uint64_t total)> progress;  ///< cases; may be empty
};

/// What was seen of one kind of operation in one format.
struct Row {
  std::string_view kind;  ///< as op::name_of() has it
  std::string format;
  uint64_t cases = 0;                 ///< operations judged, counted once per step
  uint64_t elements = 0;              ///< judged
  double max_u = 0, limit_u = 0;      ///< the worst element's error and limit
  uint64_t compared = 0, differ = 0;  ///< elements whose bits were compared
  bool pass = true;
  bool undefined = false;  ///< the exact result of some element is no finite number
  std::string sha256;      ///< of the synthetic cases' judged outputs; "": it has none
  std::string stored;      ///< the hash it must have; "": none is stored
};

/// A question to the device's arithmetic, asked through operations.
struct Probe {
  std::string name, found;
  bool pass = true;
};

struct Report {
  bool pass = true;
  std::string unmeasured;  ///< where it passes: what could not be judged, and why; mostly empty
  std::string sentence;    ///< begins with PASS, FAIL or UNMEASURED
  std::string device, isa, contract;
  uint32_t threads = 0;
  std::vector<Row> rows;
  std::vector<Probe> probes;
  std::vector<std::string> paths;  ///< whose bits were compared
  std::set<std::string> formats, shapes;
  std::string logits_sha256;  ///< of the model's tokens, every position; "" without a model
  uint64_t operations = 0, elements = 0;
};

/// Errors: what the factories refuse; a device that runs another contract than the plain one.
Result<Report> verify(const Settings& settings);

/// The hashes of the device's judged runs of the synthetic cases. This proves nothing by itself.
Result<Stored> make_stored(const Settings& settings);

/// The probes alone (src/verify/probes.cpp).
Result<std::vector<Probe>> probe(const Settings& settings);

/// "cpu (avx2, 2 threads)"
std::string name_of_device(const Report& report);

}  // namespace assay::verify
