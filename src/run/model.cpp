#include "run/model.h"

#include <utility>

#include "model/model.h"

namespace assay::run {

Result<std::shared_ptr<const Model>> Model::open(const std::string& path, uint32_t context) {
  auto file = gguf::File::open(path);
  if (!file) return file.error();
  // The program's weights point into the file, so the file is in its place before.
  const std::shared_ptr<Model> model(new Model(std::move(*file)));
  auto program = model::build(model->file_, context);
  if (!program) return program.error();
  model->program_ = std::make_shared<const op::Program>(std::move(*program));
  return std::shared_ptr<const Model>(model);
}

Result<std::shared_ptr<const op::Program>> Model::program_for(uint32_t context) const {
  if (context == 0 || context == program_->context) return program_;
  auto program = model::build(file_, context);
  if (!program) return program.error();
  return std::make_shared<const op::Program>(std::move(*program));
}

const Result<text::Tokenizer>& Model::tokenizer() const {
  std::call_once(opened_, [this] { tokenizer_.emplace(text::Tokenizer::open(file_)); });
  return *tokenizer_;
}

}  // namespace assay::run
