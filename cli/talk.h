// A conversation with a model: what `chat` sends, what it is answered, and what fits.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "generate.h"
#include "line_editor.h"
#include "run/conversation.h"
#include "run/session_file.h"
#include "sampling.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

/// What may be changed between two answers.
struct TalkFlags {
  SamplingFlags sampling;
  int64_t predict = -1;
  std::vector<std::string> stops;
  std::string context_full = "stop";
  bool special = false, speed = false, wrap = true;
};
/// As options of the command line, and as names of `/set`.
void add_talk_flags(CLI::App& command, TalkFlags& flags);

class Talk {
 public:
  Talk(assay::run::Engine& engine, assay::run::Sequence sequence,
       const assay::text::Tokenizer& tokenizer, const assay::text::ChatTemplate& format,
       LineEditor& editor, TalkFlags flags);

  assay::run::Conversation conversation;
  std::optional<assay::run::SessionFile> session;
  TalkFlags flags;
  assay::text::ChatOptions template_options;

  /// Sends a message. Where it can't be answered the conversation stays as it was.
  assay::Status say(const std::string& text);
  /// Another answer to the last message, drawn with the next seed.
  assay::Status regenerate();
  /// Takes back the last exchange, or what replace() did since then.
  assay::Status undo();
  /// Leaves the oldest exchanges out of what the model is shown.
  assay::Status leave_out(uint64_t exchanges);
  /// Another conversation takes the place of this one.
  void replace(assay::run::Conversation other);
  /// Saves to the session's file, if there is one and the conversation is to go into it.
  assay::Status save();

  void print_stats() const;
  void print_speed() const;
  /// Answers are drawn from `flags` as they are now.
  void restart_seed();
  std::string device() const { return describe_; }
  const std::string& model() const { return engine_.file().path(); }
  uint64_t context() const { return engine_.context(); }
  /// False once nobody reads stdout any more.
  bool writable() const { return writable_; }

 private:
  assay::Status answer();
  assay::Result<std::vector<int32_t>> encode() const;
  assay::Result<std::vector<int32_t>> encode_what_fits();
  assay::Result<std::span<const float>> read_prompt(const std::vector<int32_t>& tokens);
  bool begins_with_thoughts(const std::vector<int32_t>& tokens) const;
  void tell_end() const;

  assay::run::Engine& engine_;
  assay::run::Sequence sequence_;
  const assay::text::Tokenizer& tokenizer_;
  const assay::text::ChatTemplate& format_;
  LineEditor& editor_;
  std::string describe_;
  std::vector<assay::run::Conversation> replaced_;  // since the last answer, the latest last
  uint64_t seeds_used_ = 0;
  bool writable_ = true;
  // Of the last answer:
  size_t prompt_tokens_ = 0, kept_tokens_ = 0;
  double first_token_ = 0;
  Generated generated_;
};
