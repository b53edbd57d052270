#include <random>
#include <string>
#include <vector>

#include "datasets/tokenizer.h"
#include "datasets/utf8.h"
#include "tests/testing.h"

using namespace flyball;

namespace {

std::string joined(std::string_view text) {
  std::string all;
  for (const std::string& token : tokenize(text)) all += (all.empty() ? "" : "|") + token;
  return all;
}

bool is_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const int bytes = decode_utf8(text, at).bytes;
    if (bytes == 0) return false;
    at += static_cast<size_t>(bytes);
  }
  return true;
}

}  // namespace

TEST_CASE("tokenizer: words, numbers and marks") {
  CHECK(joined("").empty());
  CHECK(joined(" \t\r\n\v\f").empty());
  CHECK(joined("A dull, well-made FILM.") == "a|dull|,|well|-|made|film|.");
  CHECK(joined("AZaz09") == "azaz09");
  CHECK(joined("@[`{/:") == "@|[|'|{|/|:");
  CHECK(joined("10/10 or 7.5, of 1,000,000 in 1980s") == "10|/|10|or|7.5|,|of|1,000,000|in|1980s");
  CHECK(joined("end.start 3. 3,b v2.5") == "end|.|start|3|.|3|,|b|v2|.|5");
  CHECK(joined("wait... what?!!!!! -- *** x") == "wait|...|what|?|!!!|--|***|x");
  CHECK(joined(std::string_view("a\0b\1c\177d", 7)) == "a|b|c|d");
}

TEST_CASE("tokenizer: contractions, written together as in IMDB or apart as in the Penn Treebank") {
  CHECK(joined("It's I'm don't can't we've she'd they'll you're") ==
        "it|'s|i|'m|do|n't|ca|n't|we|'ve|she|'d|they|'ll|you|'re");
  CHECK(joined("it 's i 'm do n't ca n't we 've she 'd they 'll you 're") ==
        joined("It's I'm don't can't we've she'd they'll you're"));
  CHECK(joined("don\xE2\x80\x99t DON\xC2\xB4T") == "do|n't|do|n't");
  CHECK(joined("rock'n'roll o'clock the dogs' 'tis 'so'") ==
        "rock'n'roll|o'clock|the|dogs|'|'|tis|'|so|'");
  CHECK(joined("`` so '' \"so\" `so'") == "\"|so|\"|\"|so|\"|'|so|'");
  CHECK(joined("'") == "'");
  CHECK(joined("a'") == "a|'");
  CHECK(joined("n't 's") == "n't|'s");
}

TEST_CASE("tokenizer: line breaks of HTML are dropped, other marks between < and > are not") {
  CHECK(joined("one<br />two<BR>three<br/>four< br / >five") == "one|two|three|four|five");
  CHECK(joined("<br /><br />") == "");
  CHECK(joined("<i>x</i> <b <brr> <br") == "<|i|>|x|<|/|i|>|<|b|<|brr|>|<|br");
}

TEST_CASE("tokenizer: characters beyond ASCII") {
  CHECK(joined("na\xC3\xAFve CAF\xC3\x89") == "na\xC3\xAFve|caf\xC3\x89");  // É stays
  CHECK(joined("\xE6\x98\xA0\xE7\x94\xBB\xE3\x80\x82") == "\xE6\x98\xA0\xE7\x94\xBB|\xE3\x80\x82");
  CHECK(joined("a\xC2\xA0"
               "b\xC2\x96"
               "c\xE2\x80\x83"
               "d\xEF\xBB\xBF"
               "e") == "a|b|c|d|e");
  CHECK(joined("a\xE2\x80\x94"
               "b \xE2\x80\x9Cq\xE2\x80\x9D \xC2\xA3"
               "5 \xE2\x80\xA6") == "a|-|b|\"|q|\"|\xC2\xA3|5|\xE2\x80\xA6");
  CHECK(joined("\xF0\x9F\x8E\xAC"
               "film") ==
        "\xF0\x9F\x8E\xAC"
        "film");
}

TEST_CASE("tokenizer: bytes that are not UTF-8 are dropped") {
  CHECK(joined("caf\xE9 noir") == "caf|noir");  // Latin-1
  CHECK(joined("a\xFFgo\x80od\xC3") == "agood");
  CHECK(joined("\xC0\xAF\xE0\x80\x80\xED\xA0\x80\xF4\x90\x80\x80\xF8\x88\x80\x80\x80").empty());
  CHECK(joined("x\xC1\xBF"
               "a\xE2\x82"
               "b\xF0\x9F\x8E"
               "c") == "xabc");                             // overlong, cut short
  CHECK(joined("\xF4\x8F\xBF\xBF") == "\xF4\x8F\xBF\xBF");  // U+10FFFF
  CHECK(joined(std::string(1000, '\xFF')).empty());
}

TEST_CASE("tokenizer: long words and long texts keep tokens short and every character whole") {
  const std::string long_word(1000, 'A');
  CHECK(joined(long_word + " b") == std::string(kMaxTokenBytes, 'a') + "|b");
  std::string accents;
  for (int i = 0; i < 100; ++i) accents += "x\xC3\xA9";  // 64 is inside the 22nd é
  CHECK(joined(accents).size() == 63 + 1);
  CHECK(is_utf8(joined(accents)));
  CHECK(joined(std::string(1000, '!')) == "!!!");
  std::string megabytes;
  while (megabytes.size() < (10U << 20U)) megabytes += "It isn't bad,<br />really. ";
  int64_t count = 0;
  tokenize(megabytes, [&](std::string_view token) {
    ++count;
    if (token.empty()) count = -1'000'000'000;
  });
  CHECK(count == static_cast<int64_t>(megabytes.size() / 27 * 7));
  count = 0;
  tokenize(std::string(10U << 20U, 'x'), [&](std::string_view) { ++count; });
  CHECK(count == 1);
}

TEST_CASE("tokenizer: any bytes give short tokens in UTF-8 without spaces, the same each time") {
  std::mt19937 random(1);
  const std::string likely = "aZ9 '.,<br/>n't-`\xC3\xA9\xE2\x80\x99\xFF\x80\xF0\x9F";
  for (int round = 0; round < 3000; ++round) {
    std::string text(random() % 200, ' ');
    for (char& c : text) {
      c = random() % 2 == 0 ? likely[random() % likely.size()] : static_cast<char>(random());
    }
    CAPTURE(round);
    const std::vector<std::string> tokens = tokenize(text);
    size_t bytes = 0;
    for (const std::string& token : tokens) {
      bytes += token.size();
      REQUIRE(!token.empty());
      REQUIRE(token.size() <= kMaxTokenBytes);
      REQUIRE(is_utf8(token));
      REQUIRE(token.find_first_of(std::string_view(" \t\r\n\v\f\0", 7)) == std::string::npos);
    }
    REQUIRE(bytes <= text.size());
    REQUIRE(tokens == tokenize(text));
  }
}
