// A person's terminal while an answer is written to it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "run/answer.h"
#include "run/text_stream.h"

/// Control characters but line end and tab as U+FFFD: an escape sequence of a model's must not
/// reach the terminal.
std::string printable(const std::string& text);

/// Lines break between words; thoughts are dim; what a person types meanwhile stands below the
/// answer.
class Screen {
 public:
  struct Options {
    bool wrap = true;
    bool thinking = false;                 ///< the answer begins with thoughts
    std::function<std::string()> waiting;  ///< what was typed meanwhile; may be empty
  };
  explicit Screen(Options options);

  /// Control tokens are shown if `special`.
  void write(const std::vector<assay::run::TextPart>& parts, bool special);
  /// Gives out what was held back and ends the line.
  void finish();

 private:
  void show(const std::vector<assay::run::Said>& said, bool special);
  void set_dim(bool dim);
  void put(const std::string& letter);
  void put_as_is(const std::string& letter, uint32_t width);
  void flush_word();
  void print(std::string_view text);
  void erase_footer();
  void draw_footer();

  Options options_;
  bool styled_;       // dim is to be had
  bool dim_ = false;  // what is printed now
  assay::run::AnswerReader reader_;
  std::string word_, spaces_;  // not printed yet
  uint32_t word_width_ = 0, columns_ = 80, column_ = 0;
  std::string line_;   // the first letters of the line
  bool code_ = false;  // between two ``` lines, which keep their own line ends
  std::string footer_;
};
