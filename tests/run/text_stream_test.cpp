// Tokens as text: whole characters, no control tokens, nothing from a stop string on.
#include "run/text_stream.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "run/model.h"

namespace assay::run {
namespace {

const text::Tokenizer& tokenizer() {
  static const auto model =
      Model::open(std::filesystem::path(ASSAY_SOURCE_DIR) / "tests/data/kjv/kjv.gguf");
  EXPECT_TRUE(model && (*model)->tokenizer());
  return *(*model)->tokenizer();
}

std::vector<int32_t> ids_of(const std::string& text) {
  return tokenizer().encode(text, {.parse_special = true, .add_bos = false, .add_eos = false});
}

/// The text of the tokens, and whether a stop string ended it.
std::pair<std::string, bool> streamed(const std::vector<int32_t>& ids,
                                      std::vector<std::string> stops = {}) {
  TextStream stream(tokenizer(), std::move(stops));
  std::string text;
  bool stopped = false;
  for (const int32_t id : ids) {
    const auto out = stream.add(id);
    text += out.text();
    stopped = stopped || out.stopped;
  }
  return {text + stream.finish().text(), stopped};
}

TEST(TextStream, GivesTheTextOfTheTokens) {
  const auto ids = ids_of("In the beginning");
  EXPECT_EQ(streamed(ids).first, " In the beginning");  // sentence pieces begin with a space
}

TEST(TextStream, ControlTokensHaveNoText) {
  auto ids = ids_of("In the beginning");
  ASSERT_TRUE(tokenizer().is_control(tokenizer().bos()));
  ids.insert(ids.begin() + 1, tokenizer().bos());
  EXPECT_EQ(streamed(ids).first, " In the beginning");
}

TEST(TextStream, CharactersAreWholeAndWhatStaysUnfinishedIsReplaced) {
  const auto ids = ids_of("€");  // in bytes, which this vocabulary has as tokens of their own
  ASSERT_GE(ids.size(), 3u);
  TextStream stream(tokenizer(), {});
  std::string text;
  for (size_t i = 0; i + 1 < ids.size(); ++i) text += stream.add(ids[i]).text();
  EXPECT_EQ(text.find('\xE2'), std::string::npos);
  EXPECT_EQ(stream.finish().text(), "\uFFFD");
  EXPECT_EQ(streamed(ids).first, text + "€");
}

TEST(TextStream, AStopStringEndsTheText) {
  const auto ids = ids_of("In the beginning God created");
  EXPECT_EQ(streamed(ids, {" God"}), std::pair(std::string(" In the beginning"), true));
  EXPECT_EQ(streamed(ids, {"Satan"}),
            std::pair(std::string(" In the beginning God created"), false));
}

/// The ids of the text, with a control token after the first few.
std::vector<int32_t> with_control(const std::string& before, const std::string& after) {
  auto ids = ids_of(before);
  ids.push_back(tokenizer().bos());
  const auto rest = ids_of(after);
  ids.insert(ids.end(), rest.begin(), rest.end());
  return ids;
}

TEST(TextStream, TheRawTextSpellsControlTokens) {
  TextStream stream(tokenizer(), {});
  std::string raw, shown, special;
  for (const int32_t id : with_control("In", "the")) {
    const auto out = stream.add(id);
    raw += out.raw, shown += out.text(), special += out.text(true);
  }
  EXPECT_EQ(shown, " In the");
  EXPECT_EQ(raw, " In<s> the");
  EXPECT_EQ(special, raw);
}

TEST(TextStream, AStopStringMayBeAControlTokenOrBeginInOne) {
  const auto ids = with_control("In", "the beginning");
  EXPECT_EQ(streamed(ids, {"<s>"}), std::pair(std::string(" In"), true));
  EXPECT_EQ(streamed(ids, {"s> the"}), std::pair(std::string(" In"), true));
  EXPECT_EQ(streamed(ids, {"n<s> the b"}), std::pair(std::string(" I"), true));
  EXPECT_EQ(streamed(ids, {"<s>the"}), std::pair(std::string(" In the beginning"), false));
}

TEST(TextStream, AControlTokenInsideACharacterDoesNotJoinIt) {
  auto ids = ids_of("€");
  ids.insert(ids.end() - 1, tokenizer().bos());
  TextStream stream(tokenizer(), {});
  std::string raw, shown;
  for (const int32_t id : ids) {
    const auto out = stream.add(id);
    raw += out.raw, shown += out.text();
  }
  EXPECT_EQ(shown + stream.finish().text(), " \uFFFD\uFFFD");
  EXPECT_EQ(raw, " \xE2\x82<s>\xAC");
}

}  // namespace
}  // namespace assay::run
