#include "invariants/list.h"

#include <algorithm>

namespace assay::invariants {

namespace {

using Abilities = std::set<Ability>;

/// Tokens of text `text` in this case.
uint32_t length_of(const Case& the, uint32_t text) {
  return the.tokens > text + 1 ? the.tokens - text : 1;
}
/// How many of them run before those that run one by one.
uint32_t prompt_of(const Case& the, uint32_t text) {
  const uint32_t length = length_of(the, text);
  return length > the.decode ? length - the.decode : 1;
}

std::vector<uint32_t> up_to(uint32_t count) {
  std::vector<uint32_t> all;
  for (uint32_t i = 0; i < count; ++i) all.push_back(i);
  return all;
}

/// One text alone, in one step.
Schedule whole(const Case& the, uint32_t text) {
  return {.texts = {text}, .actions = {Step{{{0, length_of(the, text)}}}}, .cold = true};
}

/// Runs the rest of a sequence's text one by one.
void decode(const Case& the, uint32_t sequence, uint32_t text, Schedule& schedule) {
  for (uint32_t end = prompt_of(the, text) + 1; end <= length_of(the, text); ++end)
    schedule.actions.push_back(Step{{{sequence, end}}});
}

/// One text alone: its prompt in one step, then the rest.
Schedule alone(const Case& the, uint32_t text) {
  Schedule schedule{.texts = {text}, .actions = {Step{{{0, prompt_of(the, text)}}}}};
  decode(the, 0, text, schedule);
  return schedule;
}

std::vector<Schedule> each_alone(const Case& the) {
  std::vector<Schedule> all;
  for (uint32_t text = 0; text < the.sequences; ++text) all.push_back(alone(the, text));
  return all;
}

/// All texts in each step, in order or from the last to the first.
Schedule together(const Case& the, bool reversed) {
  Schedule schedule{.texts = up_to(the.sequences), .actions = {}};
  const auto step = [&](auto end_of) {
    Step all;
    for (uint32_t s = 0; s < the.sequences; ++s)
      if (const uint32_t end = end_of(s); end > 0) all.parts.push_back({s, end});
    if (reversed) std::ranges::reverse(all.parts);
    if (!all.parts.empty()) schedule.actions.push_back(std::move(all));
  };
  step([&](uint32_t s) { return prompt_of(the, s); });
  for (uint32_t i = 1; i <= the.decode; ++i)
    step([&](uint32_t s) {
      const uint32_t end = prompt_of(the, s) + i;
      return end <= length_of(the, s) ? end : 0;
    });
  return schedule;
}

std::optional<Question> repeat(const Case& the, const Abilities&) {
  return Question{{whole(the, 0)}, whole(the, 0)};
}

std::optional<Question> cached(const Case& the, const Abilities&) {
  return Question{{whole(the, 0)}, alone(the, 0)};
}

std::optional<Question> chunked(const Case& the, const Abilities&) {
  Schedule pieces{.texts = {0}, .actions = {}};
  const uint32_t size = (the.tokens + 2) / 3;
  for (uint32_t end = size;; end += size) {
    pieces.actions.push_back(Step{{{0, std::min(end, the.tokens)}}});
    if (end >= the.tokens) break;
  }
  return Question{{whole(the, 0)}, pieces};
}

std::optional<Question> batch(const Case& the, const Abilities& abilities) {
  if (!abilities.contains(Ability::several)) return {};
  return Question{each_alone(the), together(the, false)};
}

std::optional<Question> rows(const Case& the, const Abilities& abilities) {
  if (!abilities.contains(Ability::several)) return {};
  return Question{{together(the, false)}, together(the, true)};
}

/// One sequence at a time, in turns: first every prompt, then a token of each.
std::optional<Question> slots(const Case& the, const Abilities&) {
  Schedule turns{.texts = up_to(the.sequences), .actions = {}};
  for (uint32_t s = 0; s < the.sequences; ++s)
    turns.actions.push_back(Step{{{s, prompt_of(the, s)}}});
  for (uint32_t i = 1; i <= the.decode; ++i)
    for (uint32_t s = 0; s < the.sequences; ++s)
      if (const uint32_t end = prompt_of(the, s) + i; end <= length_of(the, s))
        turns.actions.push_back(Step{{{s, end}}});
  return Question{each_alone(the), turns};
}

std::optional<Question> undone(const Case& the, const Abilities& abilities) {
  if (!abilities.contains(Ability::undo)) return {};
  const uint32_t prompt = prompt_of(the, 0);
  Schedule back{.texts = {0},
                .actions = {Step{{{0, prompt}}}, Wander{0, the.decode}, Undo{0, prompt}}};
  decode(the, 0, 0, back);
  return Question{{alone(the, 0)}, back};
}

std::optional<Question> restored(const Case& the, const Abilities& abilities) {
  if (!abilities.contains(Ability::copy)) return {};
  const uint32_t prompt = prompt_of(the, 0);
  Schedule copy{.texts = {0, 0},
                .actions = {Step{{{0, prompt}}}, Wander{0, the.decode}, Copy{0, 1, prompt}}};
  decode(the, 1, 0, copy);
  return Question{{alone(the, 0)}, copy};
}

std::optional<Question> padding(const Case& the, const Abilities& abilities) {
  if (!abilities.contains(Ability::fill)) return {};
  const auto filled = [&](bool nan) {
    Schedule schedule = alone(the, 0);
    schedule.actions.insert(schedule.actions.begin(), Fill{nan});
    return schedule;
  };
  return Question{{filled(false)}, filled(true)};
}

/// The first layer's keys tell nothing but the token and its position.
std::optional<Question> positions(const Case& the, const Abilities& abilities) {
  Question question{{alone(the, 0)}, alone(the, 0)};
  if (abilities.contains(Ability::keys)) {
    question.plain = {whole(the, 0)};
    question.plain[0].keys = question.other.keys = true;
  } else if (abilities.contains(Ability::counts)) {
    question.other.counted = true;
  } else {
    return {};
  }
  return question;
}

}  // namespace

const std::vector<Invariant>& list() {
  static const std::vector<Invariant> all = {
      {"repeat",
       "a repeat is identical",
       "the same tokens, run again, have the same logits",
       {1, 1, 0},
       repeat},
      {"positions",
       "positions continue",
       "the tokens of each step stand at the positions after those of the step before",
       {2, 1, 1},
       positions},
      {"cached",
       "cached = computed",
       "tokens that run one by one have the logits of the same tokens in one step",
       {2, 1, 1},
       cached},
      {"chunked",
       "chunked = whole",
       "a prompt in three pieces has the logits of the same prompt in one step",
       {2, 1, 0},
       chunked},
      {"batch",
       "batch 1 = batch N",
       "a text in a step with others has the logits that it has alone",
       {1, 2, 0},
       batch},
      {"rows",
       "the order of rows changes nothing",
       "a step has the same logits when its sequences stand in the reverse order",
       {1, 2, 0},
       rows},
      {"slots",
       "one slot = many",
       "a text has the same logits when others run between its steps",
       {1, 2, 0},
       slots},
      {"undone",
       "undone = never done",
       "after other tokens were run and undone, a text goes on as if they had never been",
       {2, 1, 1},
       undone},
      {"restored",
       "restored = recomputed",
       "a copy of a text's beginning goes on as the text itself does",
       {2, 1, 1},
       restored},
      {"padding",
       "NaN padding changes nothing",
       "logits are the same when every unused place of the cache holds NaN",
       {1, 1, 0},
       padding},
  };
  return all;
}

Texts texts_of(const Case& the, const std::vector<int32_t>& tokens) {
  Texts texts;
  for (uint32_t text = 0; text < std::max(1u, the.sequences); ++text) {
    std::vector<int32_t> one;
    for (uint32_t i = 0; i < length_of(the, text); ++i)
      one.push_back(tokens[(i + 7 * text + the.rotation) % tokens.size()]);
    texts.push_back(std::move(one));
  }
  return texts;
}

}  // namespace assay::invariants
