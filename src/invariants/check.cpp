#include "invariants/check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

namespace assay::invariants {

std::string_view name_of(Answer answer) {
  constexpr std::array<std::string_view, 3> names = {"holds", "breaks", "unmeasured"};
  return names[size_t(answer)];
}

uint64_t Report::count(Answer answer) const {
  return uint64_t(std::ranges::count(findings, answer, &Finding::answer));
}

namespace {

/// The largest difference of a log-probability. A token that only one side names is at most as
/// likely on the other as the least likely that it names.
double apart(const Row& a, const Row& b) {
  double largest = 0;
  const auto one_way = [&](const Row& from, const Row& to) {
    if (to.best.empty()) return;
    double least = INFINITY;
    for (const auto& [token, p] : to.best) least = std::min(least, p);
    for (const auto& [token, p] : from.best) {
      const auto found = std::ranges::find(to.best, token, &std::pair<int64_t, double>::first);
      const double other = found == to.best.end() ? least : found->second;
      if (found != to.best.end() || p > least) largest = std::max(largest, std::fabs(p - other));
    }
  };
  one_way(a, b);
  one_way(b, a);
  return largest;
}

bool same(const Row& a, const Row& b, bool by_bits, double limit) {
  if (!a.bits.empty() && a.bits == b.bits) return true;
  if (by_bits) return false;
  return a.finite == b.finite && apart(a, b) <= limit;
}

/// The largest difference of two whole rows; a number and a NaN are infinitely far apart.
void measure(const Row& wanted, const Row& got, Difference& difference) {
  if (wanted.values.size() != got.values.size() || wanted.values.empty()) return;
  double largest = -1;
  for (uint32_t i = 0; i < wanted.values.size(); ++i) {
    const double a = wanted.values[i], b = got.values[i];
    if (std::bit_cast<uint32_t>(wanted.values[i]) == std::bit_cast<uint32_t>(got.values[i]))
      continue;
    const double size = std::isfinite(a) && std::isfinite(b) ? std::fabs(a - b) : INFINITY;
    if (!(size > largest)) continue;
    largest = size;
    difference.channel = i;
    difference.size = size;
    difference.wanted = a;
    difference.got = b;
  }
}

}  // namespace

std::optional<Difference> compare(const Rows& plain, const Rows& other, bool by_bits,
                                  double limit) {
  Difference found;
  for (const auto& [place, got] : other) {
    const auto wanted = plain.find(place);
    if (wanted == plain.end()) continue;
    ++found.of;
    if (same(wanted->second, got, by_bits, limit)) continue;
    if (found.differ++ == 0) {
      found.first = place;
      measure(wanted->second, got, found);
    }
    found.not_finite = found.not_finite || (wanted->second.finite && !got.finite);
    found.log_probability = std::max(found.log_probability, apart(wanted->second, got));
    if (!wanted->second.best.empty() && !got.best.empty())
      found.other_best += wanted->second.best[0].first != got.best[0].first;
  }
  if (found.differ == 0) return {};
  return found;
}

namespace {

class Check {
 public:
  Check(const Subject& subject, const Settings& settings)
      : subject_(subject), settings_(settings) {}

  Result<Report> run() {
    Report report{subject_.name, settings_.whole, subject_.by_bits, 0, 0, {}};
    if (const Status known = check_ids(); !known) return known.error();
    if (!subject_.by_bits) {
      const auto noise = noise_of_repeats();
      if (!noise) return noise.error();
      report.noise = *noise;
      report.limit = limit_ = 2 * report.noise;
    }
    for (const Invariant& invariant : list()) {
      if (!settings_.only.empty() && !std::ranges::count(settings_.only, invariant.id)) continue;
      if (settings_.progress) settings_.progress(report.findings.size(), list().size());
      const auto finding = ask(invariant);
      if (!finding) return finding.error();
      report.findings.push_back(*finding);
    }
    return report;
  }

 private:
  Status check_ids() const {
    std::vector<std::string_view> ids;
    for (const Invariant& invariant : list()) ids.push_back(invariant.id);
    for (const std::string& id : settings_.only)
      if (!std::ranges::count(ids, id))
        return Error{
            fmt::format("there is no invariant '{}'; there are: {}", id, fmt::join(ids, ", "))};
    return ok();
  }

  struct Both {
    Rows plain, other;
  };

  Result<Both> rows_of(const Question& question, const Case& the, const Place* whole = nullptr) {
    const Texts texts = texts_of(the, settings_.tokens);
    Both both;
    for (const Schedule& schedule : question.plain) {
      auto rows = subject_.run(schedule, texts, whole);
      if (!rows) return rows.error();
      both.plain.merge(*rows);
    }
    auto rows = subject_.run(question.other, texts, whole);
    if (!rows) return rows.error();
    both.other = std::move(*rows);
    return both;
  }

  /// A case of the same size; with texts of its own where the engine remembers earlier ones.
  Case fresh(Case the) {
    if (subject_.remembers) the.rotation = ++rotation_;
    return the;
  }

  Result<std::optional<Difference>> difference(const Invariant& invariant, const Case& the,
                                               bool measured = false) {
    const auto question = invariant.ask(the, subject_.abilities);
    auto both = rows_of(*question, the);
    if (!both) return both.error();
    auto found = compare(both->plain, both->other, subject_.by_bits, limit_);
    if (!found || !measured || found->channel) return found;
    both = rows_of(*question, the, &found->first);
    if (!both) return both.error();
    const auto wanted = both->plain.find(found->first), got = both->other.find(found->first);
    if (wanted != both->plain.end() && got != both->other.end())
      measure(wanted->second, got->second, *found);
    return found;
  }

  /// Of the whole case, over prompts and single steps.
  Result<double> noise_of_repeats() {
    double noise = 0;
    for (const char* id : {"repeat", "cached"}) {
      const auto invariant = std::ranges::find(list(), id, &Invariant::id);
      const Case the = fresh(settings_.whole);
      const Texts texts = texts_of(the, settings_.tokens);
      const Schedule schedule = invariant->ask(the, subject_.abilities)->other;
      std::optional<Rows> first;
      // Where an engine remembers, the first run is unlike the others: that is no noise.
      const uint32_t apart_from = subject_.remembers ? 1 : 0;
      for (uint32_t i = 0; i < settings_.repeats + apart_from; ++i) {
        auto rows = subject_.run(schedule, texts, nullptr);
        if (!rows) return rows.error();
        if (i < apart_from) continue;
        if (!first) {
          first = std::move(*rows);
          continue;
        }
        for (const auto& [place, row] : *rows)
          noise = std::max(noise, apart(first->at(place), row));
      }
    }
    return noise;
  }

  Result<Finding> ask(const Invariant& invariant) {
    Finding finding;
    finding.invariant = &invariant;
    const Case &whole = settings_.whole, &least = invariant.least;
    if (whole.tokens < least.tokens || whole.decode < least.decode ||
        whole.sequences < least.sequences) {
      finding.why = fmt::format("it takes {}", text_of(least));
      return finding;
    }
    const auto question = invariant.ask(whole, subject_.abilities);
    if (!question) {
      finding.why = "this engine cannot be asked";
      return finding;
    }
    for (const Ability need : needs_of(question->other))
      if (!subject_.abilities.contains(need)) {
        finding.why = fmt::format("this engine cannot be asked ('{}')", name_of(need));
        return finding;
      }
    finding.keys = question->other.keys;
    auto found = difference(invariant, fresh(whole));
    if (!found) return found.error();
    finding.answer = *found ? Answer::breaks : Answer::holds;
    if (!*found) return finding;
    finding.difference = **found;
    finding.smallest = whole;
    for (uint32_t Case::*part : {&Case::decode, &Case::tokens, &Case::sequences})
      if (const auto done = shrink(finding, part, least.*part); !done) return done.error();
    finding.smallest = fresh(finding.smallest);
    found = difference(invariant, finding.smallest, true);
    if (!found) return found.error();
    // What comes and goes is shown as it was seen in the whole case.
    finding.in_smallest = *found ? **found : *finding.difference;
    if (!*found) finding.smallest = whole;
    return finding;
  }

  /// The smallest number from `least` on that breaks, and below which it does not: by doubling, then
  /// by halving.
  Status shrink(Finding& finding, uint32_t Case::*part, uint32_t least) {
    const uint32_t most = finding.smallest.*part;
    uint32_t holds = least, breaks = most;  // [holds, breaks): below `holds` nothing breaks
    const auto tried = [&](uint32_t number) -> Result<bool> {
      Case smaller = finding.smallest;
      smaller.*part = number;
      const auto found = difference(*finding.invariant, fresh(smaller));
      if (!found) return found.error();
      return found->has_value();
    };
    for (uint32_t step = 1, at = least; at < most; at += step, step *= 2) {
      const auto broken = tried(at);
      if (!broken) return broken.error();
      if (*broken) {
        breaks = at;
        break;
      }
      holds = at + 1;
    }
    while (holds < breaks) {
      const uint32_t middle = holds + (breaks - holds) / 2;
      const auto broken = tried(middle);
      if (!broken) return broken.error();
      if (*broken)
        breaks = middle;
      else
        holds = middle + 1;
    }
    finding.smallest.*part = breaks;
    return ok();
  }

  const Subject& subject_;
  const Settings& settings_;
  double limit_ = 0;
  uint32_t rotation_ = 0;
};

/// "0.0031", "infinite"
std::string number(double value) {
  return std::isinf(value) ? "infinitely far" : fmt::format("{:.3g}", value);
}

/// "1.25 instead of 1.75": as many digits as tell them apart.
std::string got_and_wanted(const Difference& d) {
  for (const int digits : {6, 9, 17}) {
    const std::string got = fmt::format("{:.{}g}", d.got, digits);
    const std::string wanted = fmt::format("{:.{}g}", d.wanted, digits);
    if (got != wanted || digits == 17) return fmt::format("{} instead of {}", got, wanted);
  }
  return "";
}

std::string amount(const Finding& finding, const Difference& d, const Report& report) {
  std::string text = fmt::format("{} of {} positions differ, first text {} at position {}",
                                 d.differ, d.of, d.first.text, d.first.position);
  if (d.channel)
    text += fmt::format(", by {} ({} {}: {})", number(d.size),
                        finding.keys ? "key channel" : "the logit of token", *d.channel,
                        got_and_wanted(d));
  if (d.not_finite) text += "; NaN or infinite logits";
  if (!finding.keys && d.log_probability > 0)
    text += fmt::format("; log-probabilities of the best tokens by up to {}{}",
                        number(d.log_probability),
                        report.by_bits ? "" : fmt::format(" (limit {})", number(report.limit)));
  if (d.other_best > 0) text += fmt::format("; another best token at {} of them", d.other_best);
  return text;
}

}  // namespace

Result<Report> check(const Subject& subject, const Settings& settings) {
  return Check(subject, settings).run();
}

std::string text_of(const Case& the) {
  const auto counted = [](uint32_t count, const char* what) {
    return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
  };
  std::string text = counted(the.tokens, "token");
  if (the.sequences > 1) text += fmt::format(", {}", counted(the.sequences, "sequence"));
  if (the.decode > 0) text += fmt::format(", the last {} one by one", the.decode);
  return text;
}

std::vector<std::string> Report::lines() const {
  std::vector<std::string> lines;
  for (const Finding& finding : findings) {
    std::string line = fmt::format("{:<11}{}", name_of(finding.answer), finding.invariant->name);
    if (finding.answer == Answer::unmeasured) line += ": " + finding.why;
    lines.push_back(line);
    if (finding.answer != Answer::breaks) continue;
    lines.push_back(fmt::format("           {}: {}", text_of(whole),
                                amount(finding, *finding.difference, *this)));
    lines.push_back(fmt::format("           smallest: {}: {}", text_of(finding.smallest),
                                amount(finding, *finding.in_smallest, *this)));
  }
  return lines;
}

std::string Report::sentence() const {
  const uint64_t held = count(Answer::holds), broken = count(Answer::breaks),
                 left = count(Answer::unmeasured);
  std::vector<std::string_view> names, unasked;
  for (const Finding& finding : findings) {
    if (finding.answer == Answer::breaks) names.push_back(finding.invariant->name);
    if (finding.answer == Answer::unmeasured) unasked.push_back(finding.invariant->id);
  }
  const std::string rest =
      left ? fmt::format("; not measured: {}", fmt::join(unasked, ", ")) : std::string();
  if (broken > 0) {
    const Finding& first = *std::ranges::find(findings, Answer::breaks, &Finding::answer);
    const std::string others =
        broken > 1
            ? fmt::format("; broken, too: {}", fmt::join(names.begin() + 1, names.end(), ", "))
            : std::string();
    return fmt::format("FAIL '{}' breaks on {}; smallest case: {}: {}{}{}", names[0], engine,
                       text_of(first.smallest), amount(first, *first.in_smallest, *this), others,
                       rest);
  }
  if (held == 0)
    return fmt::format("UNMEASURED: no invariant could be asked of {}{}", engine, rest);
  return fmt::format("PASS: {} invariants hold on {}{} ({}){}", held, engine,
                     by_bits ? ", by bits" : fmt::format(", within {}", number(limit)),
                     text_of(whole), rest);
}

}  // namespace assay::invariants
