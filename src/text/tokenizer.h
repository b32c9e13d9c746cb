// Text to token ids and back, from the data in a GGUF file: BPE (`gpt2`, `gemma4`) with the
// pre-tokenizers of pre_tokenizer_rules.cpp, SentencePiece's scores (`llama`), and the best sum of
// scores (`plamo2`). The rules: docs/tokenizers.md.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "gguf/file.h"
#include "text/lost_bytes.h"
#include "text/special.h"

namespace assay::text {

using Token = int32_t;

struct EncodeOptions {
  bool parse_special =
      true;  ///< text that spells a special (control or user-defined) token becomes that token
  bool add_bos = true;  ///< put the beginning-of-sequence token first where the file asks for it
  bool add_eos = true;  ///< and the end-of-sequence token last: for a text that goes on, false
  /// Parts of the text, ascending, of which no byte belongs to a control token even so (a user's
  /// message within a template).
  std::span<const Span> plain = {};
};

/// A text's tokens, and what of it they do not hold.
struct Encoded {
  std::vector<Token> tokens;
  LostBytes lost{};
};

class Tokenizer {
 public:
  /// Errors: no tokenizer in the file; a tokenizer model or pre-tokenizer that is not supported
  /// (named, with the list of what is); arrays of unequal length.
  static Result<Tokenizer> open(const gguf::File& file);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  uint64_t vocabulary_size() const;
  bool adds_bos() const;                         ///< the file's rule
  bool adds_eos() const;                         ///< the file's rule; most files: no
  bool adds_space_prefix() const;                ///< `llama`: a space before the text, see decode
  Token bos() const;                             ///< -1 where the file has none
  Token eos() const;                             ///< -1 where the file has none
  bool ends_generation(Token token) const;       ///< eos, eot, eom and their kin
  const std::vector<Token>& suppressed() const;  ///< tokens that the file wants never to be drawn
  const std::string& model() const;              ///< "gpt2", "gemma4", "llama" or "plamo2"
  const std::string& pre_tokenizer() const;      ///< empty for "llama", "plamo2"
  /// False where the file leaves the pre-tokenizer out and its rules are "default" for want of
  /// better: its tokens may be others than the model was trained with.
  bool names_pre_tokenizer() const;
  /// Which special ids of the file name none of its tokens: one sentence, or "".
  const std::string& ids_outside() const;

  std::vector<Token> encode(std::string_view text, const EncodeOptions& options = {}) const {
    return encode_counting(text, options).tokens;
  }
  Encoded encode_counting(std::string_view text, const EncodeOptions& options = {}) const;
  /// The pieces joined, from the start of a text: a first BOS is left out, and one space at the
  /// start where encoding put it (adds_space_prefix). A text that goes on after a prompt keeps its
  /// first space: join the pieces.
  std::string decode(std::span<const Token> tokens) const;
  /// The token's bytes as they stand in text (special tokens: their own spelling). Empty for ids
  /// out of range.
  std::string_view piece(Token token) const;
  /// True for control tokens, which generated text does not show, but for frames.
  bool is_control(Token token) const;
  /// True for the control tokens that set the parts of an answer apart (`<|channel|>`): without them
  /// nobody could tell thoughts from what is said.
  bool is_frame(Token token) const;
  /// The token's spelling in the vocabulary (byte-level letters unmapped only by `piece`).
  std::string_view spelling(Token token) const;

 private:
  struct Data;
  explicit Tokenizer(std::unique_ptr<Data> data);
  std::unique_ptr<Data> data_;
};

/// Joins pieces into text without ever cutting a UTF-8 character: bytes of an unfinished character
/// are held back until it is whole; bytes that can't become one are given out as U+FFFD.
class Detokenizer {
 public:
  std::string add(std::string_view piece);  ///< the text that is now certain
  std::string finish();                     ///< what was held back (as U+FFFD where not whole)

 private:
  std::string held_;
};

}  // namespace assay::text
