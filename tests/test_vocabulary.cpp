#include <string>
#include <vector>

#include "datasets/vocabulary.h"
#include "tests/file_helpers.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

TextSamples samples_of(std::vector<std::string> texts) {
  TextSamples samples{.name = "some"};
  samples.labels.resize(texts.size());
  samples.texts = std::move(texts);
  return samples;
}

std::vector<std::string> tokens_of(const Vocabulary& vocabulary) {
  std::vector<std::string> tokens;
  for (int32_t id = 0; id < vocabulary.size(); ++id) tokens.push_back(vocabulary.token(id));
  return tokens;
}

Ids sequence(const TextData& data, int64_t i) {
  const int32_t* begin = data.tokens.data() + data.offsets[static_cast<size_t>(i)];
  return {begin, begin + data.length(i)};
}

}  // namespace

TEST_CASE("vocabulary: by frequency, then by bytes, after <pad> and <unk>") {
  const TokenizedText text = tokenize(samples_of({"b a c c", "a b c d e \xC3\xA9 \xC3\xA9", ""}));
  using Strings = std::vector<std::string>;
  const auto build = [&](int64_t max_size, int64_t min_count) {
    return tokens_of(Vocabulary::build(text, {.max_size = max_size, .min_count = min_count}));
  };
  CHECK(build(100, 1) == Strings{"<pad>", "<unk>", "c", "a", "b", "\xC3\xA9", "d", "e"});
  CHECK(build(100, 2) == Strings{"<pad>", "<unk>", "c", "a", "b", "\xC3\xA9"});
  CHECK(build(100, 4) == Strings{"<pad>", "<unk>"});
  CHECK(build(4, 1) == Strings{"<pad>", "<unk>", "c", "a"});
  CHECK(build(8, 1).size() == 8);
  const Vocabulary vocabulary = Vocabulary::build(text, {.max_size = 4, .min_count = 1});
  CHECK(vocabulary.id("c") == 2);
  CHECK(vocabulary.id("b") == Vocabulary::kUnknown);
  CHECK(vocabulary.id("<pad>") == Vocabulary::kPadding);
  CHECK(error_of([&] { build(2, 1); }) == "vocabulary: max_size is 2, expected at least 3");
  CHECK(error_of([&] { build(9, 0); }) == "vocabulary: min_count is 0, expected at least 1");
}

TEST_CASE("vocabulary: saved and loaded it is the same") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "vocabulary.txt";
  TextSamples samples = samples_of({"a b's \xF0\x9F\x8E\xAC !!! 10,5"});
  for (int i = 0; i < 2000; ++i) samples.texts[0] += str(" word", i);
  const Vocabulary vocabulary = Vocabulary::build(tokenize(samples), {.min_count = 1});
  vocabulary.save(path);
  CHECK(read_whole_file(path).starts_with("<pad>\n<unk>\n!!!\n"));
  Vocabulary loaded = Vocabulary::load(path);
  CHECK(tokens_of(loaded) == tokens_of(vocabulary));
  const Vocabulary moved = std::move(loaded);
  for (int32_t id = 0; id < vocabulary.size(); ++id) REQUIRE(moved.id(vocabulary.token(id)) == id);
  vocabulary.save(path);  // over a file that is there
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);
  CHECK(contains(error_of([&] { vocabulary.save(folder.path() / "none/x"); }),
                 "none/x: cannot write: No such file or directory"));
}

TEST_CASE("vocabulary: damaged files are refused with the line") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "vocabulary.txt";
  const auto check_refused = [&](const std::string& content, const std::string& message) {
    write_file(path, content);
    CHECK(error_of([&] { Vocabulary::load(path); }) == path.string() + ": " + message);
  };
  check_refused("", "ends after line 0, expected <pad> and <unk>");
  check_refused("<pad>\n", "ends after line 1, expected <pad> and <unk>");
  check_refused("<unk>\n<pad>\n", "line 1 is not <pad>");
  check_refused("<pad>\nthe\n", "line 2 is not <unk>");
  check_refused("<pad>\n<unk>\nthe", "line 3 has no end, expected \\n");
  check_refused("<pad>\n<unk>\n\nthe\n", "line 3 is empty, expected a token");
  check_refused("<pad>\n<unk>\nthe\na\nthe\n", "line 5 holds the token of line 3 again");
  check_refused("<pad>\n<unk>\n<pad>\n", "line 3 holds the token of line 1 again");
  fs::remove(path);
  CHECK(error_of([&] { Vocabulary::load(path); }) ==
        path.string() + ": cannot open, expected a vocabulary");
  CHECK(error_of([&] { Vocabulary::load(folder.path()); }) ==
        folder.path().string() + ": cannot open, expected a vocabulary");
}

TEST_CASE("encode: ids of a vocabulary, unknown ones and empty texts") {
  const Vocabulary vocabulary =
      Vocabulary::build(tokenize(samples_of({"a a a b b c"})), {.min_count = 2});
  TextSamples samples = samples_of({"b x A", "", "\xFF\xFF", "c b"});
  samples.labels = {0, 1, 1, 0};
  const TextData data = encode(tokenize(samples), vocabulary);
  CHECK(data.name == "some");
  CHECK(data.vocabulary == 4);
  CHECK(data.labels == samples.labels);
  CHECK(sequence(data, 0) == Ids{3, 1, 2});
  CHECK(sequence(data, 1) == Ids{1});
  CHECK(sequence(data, 2) == Ids{1});
  CHECK(sequence(data, 3) == Ids{1, 3});
}

TEST_CASE("encode: long texts keep head, tail or both") {
  const TokenizedText text = tokenize(samples_of({"a b c d e f g", "a b c d e", "a b c d", "a"}));
  const Vocabulary vocabulary = Vocabulary::build(text, {.min_count = 1});  // a 2 ... g 8
  const auto first = [&](int64_t max_length, Keep keep) {
    const TextData data = encode(text, vocabulary, {.max_length = max_length, .keep = keep});
    CHECK(sequence(data, 3) == Ids{2});
    for (int64_t i = 0; i < 4; ++i) CHECK(data.length(i) <= max_length);
    if (max_length == 5) {
      CHECK(sequence(data, 1) == Ids{2, 3, 4, 5, 6});
      CHECK(sequence(data, 2) == Ids{2, 3, 4, 5});
    }
    return sequence(data, 0);
  };
  CHECK(first(5, Keep::head) == Ids{2, 3, 4, 5, 6});
  CHECK(first(5, Keep::tail) == Ids{4, 5, 6, 7, 8});
  CHECK(first(5, Keep::both) == Ids{2, 3, 4, 7, 8});
  CHECK(first(4, Keep::both) == Ids{2, 3, 7, 8});
  CHECK(first(1, Keep::both) == Ids{2});
  CHECK(first(1, Keep::tail) == Ids{8});
  CHECK(first(6, Keep::both) == Ids{2, 3, 4, 6, 7, 8});
  for (const int64_t all : {int64_t{7}, int64_t{8}, std::numeric_limits<int64_t>::max()}) {
    for (const Keep keep : {Keep::head, Keep::tail, Keep::both}) {
      CHECK(first(all, keep) == Ids{2, 3, 4, 5, 6, 7, 8});
    }
  }
  CHECK(error_of([&] { first(0, Keep::head); }) == "encode: max_length is 0, expected at least 1");
}
