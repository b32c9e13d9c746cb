#include "arguments.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "common.h"
#include "llama_options.h"
#include "nearest.h"
#include "option_table.h"

using assay::Error;
using assay::Result;
using assay::Status;
using Words = std::vector<std::string>;

namespace {

/// An option as it is written: "--kv=f32" is the name "--kv" with the value "f32".
struct Written {
  std::string name, value;
  bool has_value = false;
};

Written split(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == text.npos) return {text, "", false};
  return {text.substr(0, equals), text.substr(equals + 1), true};
}

bool is_option(const std::string& text) {
  return text.size() > 1 && text[0] == '-';
}

const CLI::Option* find_option(const CLI::App& app, const std::string& name) {
  for (const CLI::Option* option : app.get_options()) {
    const bool found = name.starts_with("--") ? option->check_lname(name.substr(2))
                       : name.size() == 2     ? option->check_sname(name.substr(1))
                                              : false;
    if (found) return option;
  }
  return nullptr;
}

bool takes_value(const CLI::Option& option) {
  return option.get_items_expected_max() > 0;
}

const CLI::App* find_command(const CLI::App& app, const std::string& name) {
  for (const CLI::App* command : app.get_subcommands({}))
    if (command->get_name() == name) return command;
  return nullptr;
}

/// Short options written together: "-n5", where the value begins like a number, or flags as "-ve".
/// Anything else of one dash and several letters is a name.
bool is_short_with_value(const CLI::App& app, const std::string& text) {
  if (text.size() < 3 || text[1] == '-') return false;
  const CLI::Option* first = find_option(app, text.substr(0, 2));
  if (first && takes_value(*first))
    return std::isdigit(uint8_t(text[2])) || text[2] == '-' || text[2] == '+' || text[2] == '.';
  return std::ranges::all_of(text.substr(1), [&](char letter) {
    const CLI::Option* flag = find_option(app, std::string("-") + letter);
    return flag && !takes_value(*flag);
  });
}

/// All that the options of a command are called, the hidden ones left out.
Words names_of(const CommandRow& row) {
  Words names;
  for (const OptionRow& option : row.options)
    names.insert(names.end(), option.names.begin(), option.names.end());
  return names;
}

/// The commands that have an option of this name.
void find_owners(const CommandRow& row, const std::string& name, Words& owners) {
  const Words names = names_of(row);
  if (std::ranges::find(names, name) != names.end()) owners.push_back(row.path);
  for (const CommandRow& command : row.commands) find_owners(command, name, owners);
}

std::string listed(Words words, std::string_view last, size_t most) {
  if (words.size() > most) {
    words.resize(most);
    words.push_back("others");
    last = "and";
  }
  if (words.size() == 1) return words[0];
  const std::string end = words.back();
  words.pop_back();
  return fmt::format("{} {} {}", fmt::join(words, ", "), last, end);
}

class Reader {
 public:
  explicit Reader(const CLI::App& app) : root_(app), at_(&app) {}

  Result<Words> read(const Words& words) {
    for (next_ = 0; next_ < words.size();) {
      const std::string& text = words[next_++];
      if (text == "--") {
        out_.insert(out_.end(), words.begin() + ptrdiff_t(next_) - 1, words.end());
        break;
      }
      const Status read = is_option(text) ? read_option(words, text) : read_word(text);
      if (!read) return read.error();
    }
    if (at_ != &root_ && !at_->get_subcommands({}).empty() && !help_)
      return wrong_usage(fmt::format("'{}' needs a command: {}", path_of(*at_), commands()));
    return out_;
  }

 private:
  std::string commands() const {
    Words names;
    for (const CommandRow& command : table_of(*at_).commands) names.push_back(command.name());
    return listed(names, "or", names.size());
  }

  /// A command, or an argument of the last one.
  Status read_word(const std::string& text) {
    if (!at_->get_subcommands({}).empty()) {
      const CLI::App* command = find_command(*at_, text);
      if (!command) return unknown_command(text);
      at_ = command;
      called_command = path_of(*at_);
    }
    out_.push_back(text);
    return assay::ok();
  }

  Error unknown_command(const std::string& text) const {
    std::error_code ignored;
    const bool top = at_ == &root_;
    const std::string what =
        fmt::format("no command '{}{}'", top ? "" : at_->get_name() + " ", text);
    if (const auto instead = instead_of_command(text); top && !instead.empty())
      return wrong_usage(fmt::format("{}: {}", what, instead));
    if (top && std::filesystem::is_regular_file(text, ignored))
      return wrong_usage(
          fmt::format("{}: it is a file; a command comes first, as in 'assay run {}'", what, text));
    Words names;
    for (const CommandRow& command : table_of(*at_).commands) names.push_back(command.name());
    const std::string near = nearest(text, names);
    if (near.empty()) return wrong_usage(what);
    return wrong_usage(fmt::format("{}; did you mean '{} {}'?", what, path_of(*at_), near));
  }

  Status read_option(const Words& words, const std::string& text) {
    if (is_short_with_value(*at_, text)) {
      out_.push_back(text);
      return assay::ok();
    }
    Written written = split(text);
    if (const CLI::Option* option = find_option(*at_, written.name))
      return accept(words, written, *option);
    const LlamaOption* llama = find_llama_option(written.name);
    if (!llama && written.name.starts_with("--")) {
      // llama.cpp takes both for the same.
      std::ranges::replace(written.name, '_', '-');
      if (const CLI::Option* option = find_option(*at_, written.name))
        return accept(words, written, *option);
      llama = find_llama_option(written.name);
    }
    if (const size_t digits = written.name.find_last_not_of("0123456789") + 1;
        !llama && digits < written.name.size()) {
      llama = find_llama_option(written.name.substr(0, digits));
      if (llama) written = {written.name.substr(0, digits), written.name.substr(digits), true};
    }
    return llama ? translate(words, written, *llama) : unknown_option(written.name);
  }

  /// An option of ours, with its value.
  Status accept(const Words& words, const Written& written, const CLI::Option& option) {
    help_ = help_ || &option == at_->get_help_ptr();
    const int needed = option.get_items_expected_min();
    if (written.has_value && needed == 0) {
      out_.push_back(written.name + "=" + written.value);
      return assay::ok();
    }
    // The parser would take the next word for the value of "--prompt=".
    out_.push_back(written.name);
    if (written.has_value) out_.push_back(written.value);
    for (int i = written.has_value; i < needed; ++i) {
      if (next_ == words.size())
        return wrong_usage(
            fmt::format("{} needs a value, {}", written.name,
                        option.get_type_name().substr(0, option.get_type_name().find(':'))));
      out_.push_back(words[next_++]);
    }
    return assay::ok();
  }

  /// An option of llama.cpp's.
  Status translate(const Words& words, Written written, const LlamaOption& llama) {
    using Takes = LlamaOption::Takes;
    if (!written.has_value && next_ < words.size() &&
        (llama.takes == Takes::value ||
         (llama.takes == Takes::perhaps && has_word("on off auto 0 1 true false", words[next_]))))
      written = {written.name, words[next_++], true};
    if (const CLI::Option* same = same_here(llama)) {
      const bool flag = !takes_value(*same);
      written = {"--" + same->get_lnames().back(), written.has_value ? written.value : "on", !flag};
      return accept(words, written, *same);
    }
    const bool here = llama.commands.empty() || has_word(llama.commands, at_->get_name());
    const bool equal =
        llama.accepted == "*" || has_word(llama.accepted, written.value) ||
        (llama.takes == Takes::perhaps && !written.has_value && has_word(llama.accepted, "on"));
    if (!here || !equal) return wrong_usage(fmt::format("'{}' {}", written.name, llama.sentence));
    if (llama.ours.empty()) return assay::ok();
    const Written ours = split(std::string(llama.ours));
    const CLI::Option* option = find_option(*at_, ours.name);
    if (!option)
      return wrong_usage(fmt::format("'{}' is {} here, which '{}' does not have", written.name,
                                     ours.name, path_of(*at_)));
    if (ours.has_value) {
      // -ctk f16 -ctv f16 say the same twice.
      if (std::ranges::find(out_, llama.ours) == out_.end()) out_.emplace_back(llama.ours);
      return assay::ok();
    }
    return accept(words, {ours.name, written.value, written.has_value}, *option);
  }

  /// An option of this command under another of llama.cpp's names for the same.
  const CLI::Option* same_here(const LlamaOption& llama) const {
    for (const std::string& name : words_of(llama.names))
      if (const CLI::Option* option = find_option(*at_, name)) return option;
    return nullptr;
  }

  Error unknown_option(const std::string& name) const {
    Words owners;
    find_owners(table_of(root_), name, owners);
    const std::string version =
        name == "-v" || name == "-V" ? "; 'assay --version' prints the version" : "";
    if (at_ == &root_ && !owners.empty())
      return wrong_usage(
          fmt::format("{} comes after a command, as in '{} {}'{}", name, owners[0], name, version));
    const std::string what = fmt::format("'{}' has no option {}", path_of(*at_), name);
    if (!owners.empty()) {
      for (std::string& owner : owners) owner = "'" + owner + "'";
      return wrong_usage(fmt::format("{}, but {} {}", what, listed(owners, "and", 3),
                                     owners.size() == 1 ? "has" : "have"));
    }
    if (find_option(*at_, "-" + name))
      return wrong_usage(fmt::format("{}; did you mean -{}?", what, name));
    Words known = names_of(table_of(*at_));
    for (const LlamaOption& llama : llama_options())
      for (const std::string& theirs : words_of(llama.names))
        if (theirs.starts_with("--")) known.push_back(theirs);
    const std::string near = nearest(name, known);
    if (near.empty()) return wrong_usage(what + value_apart(name));
    const LlamaOption* llama = find_option(*at_, near) ? nullptr : find_llama_option(near);
    if (llama && !llama->ours.empty())
      return wrong_usage(
          fmt::format("{}; did you mean {}?", what, split(std::string(llama->ours)).name));
    const std::string why =
        llama && !llama->sentence.empty() ? fmt::format(" '{}' {}", near, llama->sentence) : "";
    return wrong_usage(fmt::format("{}; did you mean {}?{}", what, near, why));
  }

  /// What to say of "-mmodel.gguf".
  std::string value_apart(const std::string& name) const {
    const CLI::Option* option = find_option(*at_, name.substr(0, 2));
    const bool text = option && takes_value(*option) && !has_word("N X P", option->get_type_name());
    if (!text || name.size() == 2) return "";
    return fmt::format("; a value stands apart: {} {}", name.substr(0, 2), name.substr(2));
  }

  const CLI::App& root_;
  const CLI::App* at_;
  size_t next_ = 0;
  bool help_ = false;
  Words out_;
};

}  // namespace

Result<Words> read_arguments(const CLI::App& app, Words arguments) {
  if (arguments.empty()) return wrong_usage("no command given");
  // As other programs have it.
  if (arguments == Words{"version"}) return Words{"--version"};
  if (arguments[0] == "help" && !find_command(app, "help")) {
    arguments.erase(arguments.begin());
    arguments.push_back("--help");
  }
  return Reader(app).read(arguments);
}
