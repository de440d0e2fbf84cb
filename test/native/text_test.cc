// base/text.h: names of any bytes as text, and back.
#include "base/text.h"

#include <set>

#include "support.h"

using namespace overns;

TEST_CASE("text: what is UTF-8 stays as it is") {
  for (const char* text :
       {"", "eth0", "\xc3\xa9t\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "a\\b", "\\x", "\\xg0", "x41"}) {
    CHECK(to_utf8(text) == text);
    CHECK(from_utf8(text) == text);
  }
}

TEST_CASE("text: other bytes are escaped, and a backslash that would look like it") {
  CHECK(to_utf8("a\xff"
                "b") == "a\\xffb");
  CHECK(to_utf8("\xc3") == "\\xc3");
  CHECK(to_utf8("\xc0\x80") == "\\xc0\\x80");           // overlong
  CHECK(to_utf8("\xed\xa0\x80") == "\\xed\\xa0\\x80");  // a surrogate
  CHECK(to_utf8("\xf4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");
  CHECK(to_utf8("\\xff") == "\\x5cxff");
  CHECK(from_utf8("\\x5cxff") == "\\xff");
  CHECK(from_utf8("\\xFF") == "\xff");
}

TEST_CASE("text: no two names become one, and each comes back") {
  support::Random random(3629);
  std::set<std::string> names;
  std::set<std::string> texts;
  constexpr char kBytes[] = {'\\', 'x', 'f', '5', 'c', '\xff', '\xc3', '\xa9', '\xe2', '\x82', '\xac', 'a'};
  for (int i = 0; i < 20000; ++i) {
    std::string name;
    while (!random.one_in(6)) name += kBytes[random.next() % sizeof kBytes];
    const std::string text = to_utf8(name);
    REQUIRE(from_utf8(text) == name);
    names.insert(name);
    texts.insert(text);
  }
  CHECK(names.size() == texts.size());
}
