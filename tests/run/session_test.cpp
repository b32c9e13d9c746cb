// What a session refuses, on the default model.
#include "run/session.h"

#include <gtest/gtest.h>

#include "support/default_model.h"

namespace assay {
namespace {

using run::Session;

class SessionTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSAY_NEEDS_MODEL(); }
};

std::string refusal(Session& session, std::vector<int32_t> tokens) {
  const auto logits = session.feed(0, tokens, Session::Wanted::last);
  return logits ? "accepted" : logits.error().message;
}

TEST_F(SessionTest, RefusesWhatTheContextDoesNotHold) {
  auto session = testing::open_default("cpu", {}, 8);
  EXPECT_EQ(refusal(session, std::vector<int32_t>(9, 33)),
            "context full: 9 tokens needed, the limit is 8 (-c sets it)");
  EXPECT_EQ(refusal(session, std::vector<int32_t>(8, 33)), "accepted");
  EXPECT_EQ(session.position(0), 8u);
  const std::vector<int32_t> one = {33};
  const Session::Part part{0, one};
  const auto step = session.step({&part, 1}, Session::Wanted::last);
  ASSERT_FALSE(step);
  EXPECT_EQ(step.error().message, "context full: 9 tokens needed, the limit is 8 (-c sets it)");
  session.truncate(0, 7);
  EXPECT_EQ(refusal(session, one), "accepted");
}

TEST_F(SessionTest, RefusesTokensBeyondTheVocabulary) {
  auto session = testing::open_default("cpu", {}, 8);
  EXPECT_EQ(refusal(session, {49152}), "token 49152 is beyond the vocabulary of 49152");
  EXPECT_EQ(refusal(session, {-1}), "token -1 is beyond the vocabulary of 49152");
  EXPECT_EQ(refusal(session, {49151}), "accepted");
}

TEST_F(SessionTest, RefusesADeviceThatIsNotThere) {
  run::SessionOptions options;
  options.device = "warp";
  const auto session = Session::open(testing::default_model().string(), options);
  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().exit, Exit::device);
  EXPECT_NE(session.error().message.find("there is no device 'warp'"), std::string::npos);
}

}  // namespace
}  // namespace assay
