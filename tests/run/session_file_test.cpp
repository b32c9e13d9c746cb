// What stands in a session's file is continued, or kept aside.
#include "run/session_file.h"
#include "support/scratch.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace assay::run {
namespace {

namespace fs = std::filesystem;

struct SessionFileTest : testing::Test {
  const assay::tests::Scratch scratch;
  const fs::path& folder = scratch.path;
  const std::string path = folder / "s.json";

  static std::string content(const std::string& name) {
    std::ifstream file(name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
};

Conversation talk(const std::string& first) {
  Conversation conversation;
  conversation.add("user", first);
  conversation.add("assistant", "yes");
  return conversation;
}

TEST_F(SessionFileTest, AContinuedConversationReplacesTheFile) {
  auto session = SessionFile::open(path);
  ASSERT_TRUE(session);
  EXPECT_FALSE(session->loaded());
  EXPECT_FALSE(fs::exists(path)) << "asking whether it can be written leaves nothing behind";
  Conversation conversation = talk("one");
  EXPECT_EQ(*session->save(conversation), "");
  conversation.add("user", "two");
  EXPECT_EQ(*session->save(conversation), "");
  auto again = SessionFile::open(path);
  ASSERT_TRUE(again && again->loaded());
  EXPECT_EQ(again->loaded()->messages, conversation.messages);
  EXPECT_EQ(*again->save(conversation), "");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1);
}

TEST_F(SessionFileTest, AnotherConversationKeepsTheFileAside) {
  auto session = SessionFile::open(path);
  ASSERT_TRUE(session);
  ASSERT_TRUE(session->save(talk("one")));
  const std::string first = content(path);
  session->begin_another();
  EXPECT_EQ(content(path), first) << "nothing happens before there is something to save";
  EXPECT_EQ(*session->save(talk("two")), path + ".1");
  EXPECT_EQ(content(path + ".1"), first);
  EXPECT_EQ(*session->save(talk("two")), "");
  session->begin_another();
  EXPECT_EQ(*session->save(talk("three")), path + ".2");
  EXPECT_EQ(content(path + ".1"), first);
}

TEST_F(SessionFileTest, WhatSomebodyElseWroteMeanwhileIsKeptAside) {
  auto session = SessionFile::open(path);
  ASSERT_TRUE(session);
  std::ofstream(path) << "by hand";
  EXPECT_EQ(*session->save(talk("one")), path + ".1");
  EXPECT_EQ(content(path + ".1"), "by hand");
}

TEST_F(SessionFileTest, APathThatCannotBeWrittenIsRefusedAtOnce) {
  EXPECT_FALSE(SessionFile::open(folder / "no" / "s.json"));
  const auto device = SessionFile::open("/dev/full");
  ASSERT_FALSE(device);
  std::ofstream(path) << "{}";
  EXPECT_FALSE(SessionFile::open(path));
  EXPECT_EQ(content(path), "{}");
}

}  // namespace
}  // namespace assay::run
