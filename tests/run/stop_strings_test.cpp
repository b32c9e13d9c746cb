#include "run/stop_strings.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace assay::run {
namespace {

/// What a listener has seen: "text|" then "stop" or "end".
std::string heard(std::vector<std::string> stops, const std::vector<std::string>& pieces) {
  StopStrings filter(std::move(stops));
  std::string text;
  bool stopped = false;
  for (const std::string& piece : pieces) {
    const StopStrings::Out out = filter.add(piece);
    EXPECT_TRUE(!stopped || (out.stopped && out.text.empty())) << "text after the stop";
    text += out.text;
    stopped = out.stopped;
  }
  const std::string rest = filter.finish();
  EXPECT_TRUE(!stopped || rest.empty());
  return text + rest + (stopped ? "|stop" : "|end");
}

TEST(StopStrings, TextWithoutStopsPassesAtOnce) {
  StopStrings none({});
  EXPECT_EQ(none.add("all of it").text, "all of it");
  EXPECT_EQ(none.finish(), "");
  EXPECT_EQ(heard({"", ""}, {"a", "", "b"}), "ab|end");
}

TEST(StopStrings, HoldsBackOnlyWhatMayBecomeAStop) {
  StopStrings filter({"###", "\nUser:"});
  EXPECT_EQ(filter.add("one#").text, "one");
  EXPECT_EQ(filter.add("#two\nUs").text, "##two");
  EXPECT_EQ(filter.add("e").text, "");
  EXPECT_EQ(filter.add("d").text, "\nUsed");
  const StopStrings::Out last = filter.add("x\nUser: y");
  EXPECT_EQ(last.text, "x");
  EXPECT_TRUE(last.stopped);
}

TEST(StopStrings, HeldTextComesOutAtTheEnd) {
  StopStrings filter({"<end>"});
  EXPECT_EQ(filter.add("a <en").text, "a ");
  EXPECT_EQ(filter.finish(), "<en");
  EXPECT_EQ(filter.finish(), "");
}

TEST(StopStrings, OverlapsWithItself) {
  // "aab" after "aaab": the first a can no longer begin the stop, the other two can.
  StopStrings filter({"aab"});
  EXPECT_EQ(filter.add("aa").text, "");
  EXPECT_EQ(filter.add("a").text, "a");
  const StopStrings::Out out = filter.add("b");
  EXPECT_EQ(out.text, "");
  EXPECT_TRUE(out.stopped);
  EXPECT_EQ(heard({"abab"}, {"abaabab"}), "aba|stop");
}

TEST(StopStrings, TheFirstToBeCompleteWins) {
  EXPECT_EQ(heard({"abcd", "bc"}, {"xabcd"}), "xa|stop");  // bc is complete a byte earlier
  EXPECT_EQ(heard({"bc", "abc"}, {"xabcd"}), "x|stop");    // complete together: the longer
  EXPECT_EQ(heard({"zz", "y"}, {"a y zz"}), "a |stop");
  EXPECT_EQ(heard({"abcd", "bce"}, {"abcfabce"}), "abcfa|stop");  // a prefix of one inside another
}

TEST(StopStrings, TheResultDoesNotDependOnTheCuts) {
  const std::vector<std::string> stops = {"aab", "abb", "bbb", "é!"};
  for (const std::string text :
       {"abaabab", "aaaabbb", "bbabb", "ababab", "cafécafé!x", "aa", "bb", "abab"}) {
    const std::string whole = heard(stops, {text});
    for (uint32_t cuts = 0; cuts < 1u << (text.size() - 1); ++cuts) {
      std::vector<std::string> pieces = {std::string(1, text[0])};
      for (size_t i = 1; i < text.size(); ++i) {
        if (cuts >> (i - 1) & 1) pieces.emplace_back();
        pieces.back() += text[i];
      }
      ASSERT_EQ(heard(stops, pieces), whole) << text << " cut " << cuts;
    }
  }
  EXPECT_EQ(heard(stops, {"cafécafé!x"}), "cafécaf|stop");
}

TEST(StopStrings, LongStopsTakeTimeInProportionToTheText) {
  // A stop string of n bytes that always almost matches: n steps a byte would be 10^11.
  const std::string almost(100'000, 'a');
  StopStrings filter({almost + "b", "c" + almost});
  const auto start = std::chrono::steady_clock::now();
  std::string text;
  for (int i = 0; i < 1000; ++i) text += filter.add(std::string(1000, 'a')).text;
  text += filter.finish();
  EXPECT_EQ(text.size(), 1'000'000u);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  EXPECT_LT(took.count(), 20);
}

}  // namespace
}  // namespace assay::run
