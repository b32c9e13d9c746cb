// A model file and what it describes: its program, and its tokenizer once text is needed.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/result.h"
#include "gguf/file.h"
#include "op/program.h"
#include "text/tokenizer.h"

namespace assay::run {

/// Shared by the engines that run it; it never changes.
class Model {
 public:
  /// `context`: the most positions of a sequence, 0 for the trained context; a model with long and
  /// short RoPE factors is another one for another limit. Errors: what gguf and model refuse.
  static Result<std::shared_ptr<const Model>> open(const std::string& path, uint32_t context = 0);

  const gguf::File& file() const { return file_; }
  const op::Program& program() const { return *program_; }
  /// The program for another limit; 0 is that of open(). Errors: what model refuses.
  Result<std::shared_ptr<const op::Program>> program_for(uint32_t context) const;

  /// Opened by the first call, from any thread. Errors: as text::Tokenizer::open.
  const Result<text::Tokenizer>& tokenizer() const;

 private:
  explicit Model(gguf::File file) : file_(std::move(file)) {}

  gguf::File file_;
  std::shared_ptr<const op::Program> program_;
  mutable std::once_flag opened_;
  mutable std::optional<Result<text::Tokenizer>> tokenizer_;
};

}  // namespace assay::run
