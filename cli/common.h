// What the subcommands share: names of models, flags of a model, errors, the terminal.
#pragma once

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "progress.h"
#include "run/engine.h"
#include "text/tokenizer.h"

/// A path as it stands, or the file of a known model in the cache; "" is the default model.
/// Errors: no such file, a known model that has not been fetched (says how to fetch it).
assay::Result<std::string> resolve_model(const std::string& name_or_path);

/// The known name of the model that "" is.
std::string default_model();

/// The git commit that this program was built from; "unknown" outside a checkout.
const char* commit();

/// Prints `assay: SENTENCE` to stderr and returns the exit code.
int report(const assay::Error& error);

/// The command that was called, "assay trace record": whose help a wrong use points to.
extern std::string called_command;
/// "SENTENCE; see 'assay run --help'".
assay::Error wrong_usage(const std::string& sentence);

/// Set by -v: more is said on stderr.
extern bool verbose;

/// Flags of every command that runs a model.
struct ModelFlags {
  std::string model;
  std::string device = "cpu";
  std::string cache = "f16";
  std::string contract;
  uint32_t threads = 0;
  uint32_t context = 0;
  bool flush_denormals = false;
  std::string fault;  ///< a seeded fault (src/fault); only in a build that has them
  std::optional<uint64_t> fault_seed;
};
/// -c, the limit of positions, by which a model may choose its RoPE factors; 0: the trained context.
CLI::Option* add_context_flag(CLI::App& command, uint32_t& context);
void add_model_flags(CLI::App& command, ModelFlags& flags);
/// -b, --batch: most prompt tokens in one step.
void add_batch_flag(CLI::App& command, uint32_t& batch);

/// The device as it is, and what "auto" stands for here, with a note on stderr where that is no
/// GPU.
std::string chosen_device(const std::string& device);

/// Opens the flags' model: resolves the name, reads ASSAY_ISA, shows a progress bar on a terminal.
assay::Result<assay::run::Engine> open_engine(const ModelFlags& flags, uint32_t batch,
                                              uint32_t sequences = 1);

/// "cpu (avx2, 2 threads), contract assay/1"; ", long RoPE factors" where the context chose them
std::string describe(const assay::run::Engine& engine);

/// The file's tokenizer. Where the file doesn't name its pre-tokenizer, a note goes to stderr.
assay::Result<assay::text::Tokenizer> open_tokenizer(const assay::gguf::File& file);
/// The same of a model, which keeps it.
const assay::Result<assay::text::Tokenizer>& open_tokenizer(const assay::run::Model& model);

/// SHA-256 over all shards, in their order, read in pieces that are given back at once: hashing
/// must not make the whole file resident.
std::string file_sha256(const assay::gguf::File& file);

/// "1,2,3" or "1 2 3" as token ids.
assay::Result<std::vector<int32_t>> parse_ids(const std::string& text);

/// The ends of the pieces that the prompt is run in: --cut 3,7 of 10 tokens gives 3, 7, 10.
assay::Result<std::vector<size_t>> read_cuts(const std::string& text, size_t count);

/// A flag's number between two bounds; NaN is refused.
CLI::Validator between(double low, double high);

/// Text of a model or a user on one line of a terminal: control characters and bytes that are not
/// UTF-8 as \n, \t, \xNN; quotes and backslashes with a backslash before them, if `quotes`.
std::string escaped(std::string_view text, bool quotes = true);

/// The reverse for what a user typed: \n, \r, \t, \', \", \\ and \xNN; any other backslash stays.
std::string unescaped(std::string_view text);

/// Sends what was printed to standard output on its way. Errors: a full disk, a closed pipe.
assay::Status flush_output();

/// A whole file, or standard input for "-".
assay::Result<std::string> read_text(const std::string& path);

/// Set by Ctrl-C once `catch_interrupt` was called; a second Ctrl-C ends the program. `end_reads`:
/// a read that waits ends then, too.
extern std::atomic<bool> interrupted;
void catch_interrupt(bool end_reads = false);

/// Seconds on a monotonic clock.
double seconds();
/// Most memory this process has held, in bytes.
uint64_t peak_bytes();
/// "AMD EPYC 7413 24-Core Processor"; "unknown" where the system doesn't say.
std::string cpu_name();
