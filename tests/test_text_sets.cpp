#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "datasets/imdb.h"
#include "datasets/sst2.h"
#include "datasets/synthetic_text.h"
#include "datasets/tokenized_text.h"
#include "datasets/tokenizer.h"
#include "kernels/cpu/parallel.h"
#include "tests/file_helpers.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;
using Labels = std::vector<int32_t>;

std::string imdb_error(const fs::path& folder) {
  std::string text = error_of([&] { load_imdb(folder, ImdbSplit::train); });
  CHECK(!contains(text, "\n"));
  return text;
}

// Runs with this many threads.
template <class Action>
auto with_threads(int threads, const Action& action) {
  const int before = cpu::threads();
  cpu::set_threads(threads);
  auto result = action();
  cpu::set_threads(before);
  return result;
}

// The label by reading the grammar's negations and contrasts.
int32_t label_by_order(const std::string& text) {
  const std::set<std::string> negative{"dull",        "boring",  "weak",     "clumsy",
                                       "awful",       "tedious", "lifeless", "bad",
                                       "predictable", "silly",   "tiresome", "poor"};
  const std::set<std::string> positive{"moving",   "gripping", "clever",    "funny",
                                       "great",    "charming", "brilliant", "good",
                                       "original", "lovely",   "touching",  "superb"};
  const std::set<std::string> negations{"n't", "not", "nobody", "hardly", "no"};
  int32_t label = -1;
  bool negated = false;
  bool aside = false;  // between "although" and its comma
  for (const std::string& token : tokenize(text)) {
    if (token == "although") aside = true;
    if (token == ",") aside = false;
    if (token == "." || token == "!") negated = false;
    if (aside) continue;
    if (negations.count(token) != 0) negated = true;
    const bool good = positive.count(token) != 0;
    if (good || negative.count(token) != 0) label = good != negated ? 1 : 0;
  }
  return label;
}

// Accuracy on the second half of a naive Bayes classifier of the words in the first half.
double bag_of_words_accuracy(const TokenizedText& text) {
  const size_t half = text.labels.size() / 2;
  std::vector<double> counts[2] = {std::vector<double>(text.dictionary.size(), 1),
                                   std::vector<double>(text.dictionary.size(), 1)};
  const auto for_each_token = [&](size_t i, const auto& action) {
    for (int64_t at = text.offsets[i]; at < text.offsets[i + 1]; ++at) {
      action(static_cast<size_t>(text.tokens[static_cast<size_t>(at)]));
    }
  };
  for (size_t i = 0; i < half; ++i) {
    for_each_token(i, [&](size_t token) { counts[text.labels[i]][token] += 1; });
  }
  double right = 0;
  for (size_t i = half; i < text.labels.size(); ++i) {
    double score = 0;
    for_each_token(i,
                   [&](size_t token) { score += std::log(counts[1][token] / counts[0][token]); });
    right += (score > 0) == (text.labels[i] == 1) ? 1 : 0;
  }
  return right / static_cast<double>(text.labels.size() - half);
}

}  // namespace

TEST_CASE("imdb: reviews take turns, in the order of their names, whatever the threads") {
  const TemporaryFolder folder;
  for (const char* place : {"train", "aclImdb/test"}) {
    const fs::path split = folder.path() / place;
    write_file(split / "neg/0_2.txt", "bad");
    write_file(split / "neg/10_1.txt", "");
    write_file(split / "neg/9_4.txt", "caf\xE9 \xFF");
    write_file(split / "pos/2_10.txt", "good");
    write_file(split / "pos/1_7.txt", "great\n");
    write_file(split / "pos/1_7.feat", "not a review");
    write_file(split / "unsup/1_0.txt", "not labelled");
  }
  for (const int threads : {1, 4}) {
    const TextSamples samples =
        with_threads(threads, [&] { return load_imdb(folder.path(), ImdbSplit::train); });
    CHECK(samples.name == "imdb train");
    CHECK(samples.classes == 2);
    CHECK(samples.texts == Strings{"bad", "great\n", "", "good", "caf\xE9 \xFF"});
    CHECK(samples.labels == Labels{0, 1, 0, 1, 0});
  }
  const TextSamples test = load_imdb(folder.path(), ImdbSplit::test);
  CHECK(test.name == "imdb test");
  CHECK(test.labels == Labels{0, 1, 0, 1, 0});
}

TEST_CASE("imdb: what is missing or unreadable is named") {
  const TemporaryFolder folder;
  const std::string root = folder.path().string();
  const std::string remedy = "; `datasets/fetch imdb " + root + "` downloads IMDB";
  CHECK(contains(imdb_error(folder.path() / "none"),
                 "imdb: folder " + root + "/none does not exist"));
  CHECK(imdb_error(folder.path()) ==
        "imdb: no folders train/neg and train/pos in " + root + " or its aclImdb/" + remedy);
  write_file(folder.path() / "train/neg/0_1.txt", "bad");
  CHECK(imdb_error(folder.path()) == "imdb: " + root + "/train has no folder pos" + remedy);
  fs::create_directory(folder.path() / "train/pos");
  CHECK(imdb_error(folder.path()) == root + "/train/pos: no reviews, expected files *.txt");
  fs::create_directory(folder.path() / "train/pos/1_8.txt");
  CHECK(imdb_error(folder.path()) == root + "/train/pos/1_8.txt: is not a regular file");
  fs::remove(folder.path() / "train/pos/1_8.txt");
  fs::create_symlink("nowhere", folder.path() / "train/pos/1_8.txt");
  CHECK(imdb_error(folder.path()) ==
        root + "/train/pos/1_8.txt: cannot be read: No such file or directory");
  for (const int threads : {1, 4}) {
    CHECK(with_threads(threads, [&] { return imdb_error(folder.path()); }) ==
          root + "/train/pos/1_8.txt: cannot be read: No such file or directory");
  }
}

TEST_CASE("imdb: an empty review and one of 10 MB are read whole") {
  const TemporaryFolder folder;
  std::string large;
  while (large.size() < (10U << 20U)) large += "not so good, not so bad. ";
  write_file(folder.path() / "train/neg/0_1.txt", large);
  write_file(folder.path() / "train/pos/0_9.txt", "");
  const TextSamples samples = load_imdb(folder.path(), ImdbSplit::train);
  CHECK(samples.texts[0] == large);
  CHECK(samples.texts[1].empty());
  const TokenizedText tokens = tokenize(samples);
  CHECK(tokens.offsets == std::vector<int64_t>{0, static_cast<int64_t>(large.size() / 25 * 8),
                                               static_cast<int64_t>(large.size() / 25 * 8)});
  CHECK(tokens.dictionary == Strings{"not", "so", ",", ".", "bad", "good"});
}

TEST_CASE("sst2: lines become texts, plain and gzipped, with either line end") {
  const TemporaryFolder folder;
  write_file(folder.path() / "SST-2/train.tsv", "sentence\tlabel\na fine film \t1\n\t0\nno end\t0");
  write_gz_file(folder.path() / "dev.tsv.gz", "sentence\tlabel\r\ncaf\xE9\t1\r\n");
  write_file(folder.path() / "sst2/test_with_labels.tsv", "sentence\tlabel\nx\t0\n");
  const TextSamples train = load_sst2(folder.path(), Sst2Split::train);
  CHECK(train.name == "sst2 train");
  CHECK(train.texts == Strings{"a fine film ", "", "no end"});
  CHECK(train.labels == Labels{1, 0, 0});
  const TextSamples dev = load_sst2(folder.path(), Sst2Split::dev);
  CHECK(dev.texts == Strings{"caf\xE9"});
  CHECK(dev.labels == Labels{1});
  CHECK(load_sst2(folder.path(), Sst2Split::test).texts == Strings{"x"});
}

TEST_CASE("sst2: damaged tables are refused with the line") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "train.tsv";
  const auto load = [&] {
    std::string text = error_of([&] { load_sst2(folder.path(), Sst2Split::train); });
    CHECK(!contains(text, "\n"));
    return text;
  };
  CHECK(load() == "sst2: no file train.tsv[.gz] in " + folder.path().string() +
                      ", its SST-2/ or its sst2/; `datasets/fetch sst2 " + folder.path().string() +
                      "` downloads SST-2");
  const auto check_refused = [&](const std::string& content, const std::string& message) {
    write_file(path, content);
    CHECK(load() == path.string() + ": " + message);
  };
  const std::string head = "sentence\tlabel\n";
  check_refused("", "no samples, expected text, tab, label");
  check_refused(head, "no samples, expected text, tab, label");
  check_refused("index\tsentence\n0\tx\n", "line 1: expected sentence, tab, label");
  check_refused(head + "good\t1\nbad\n", "line 3: 0 tabs, expected text, tab, label");
  check_refused(head + "go\tod\t1\n", "line 2: 2 tabs, expected text, tab, label");
  check_refused(head + "good\t2\n", "line 2: label is not 0 or 1");
  check_refused(head + "good\t\n", "line 2: label is not 0 or 1");
  check_refused(head + "good\t1\n\n", "line 3: 0 tabs, expected text, tab, label");
  check_refused(head + "good\t1 \n", "line 2: label is not 0 or 1");
  fs::remove(path);
  fs::create_directory(path);
  CHECK(load() == path.string() + ": is a folder, expected a table of texts and labels");
}

TEST_CASE("tokenized text: counts, order and places agree with the texts, whatever the threads") {
  TextSamples samples{.name = "some"};
  for (int i = 0; i < 3000; ++i) {
    samples.texts.push_back(str("b a ", i % 7 == 0 ? "" : "a ", "w", i % 1000));
    samples.labels.push_back(i % 2);
  }
  samples.texts[5] = "";
  const TokenizedText text = with_threads(1, [&] { return tokenize(samples); });
  CHECK(text.size() == 3000);
  CHECK(text.labels == samples.labels);
  CHECK(text.dictionary[0] == "a");
  CHECK(text.dictionary[1] == "b");
  CHECK(text.dictionary[2] == "w0");  // three each, but w5: by their bytes
  CHECK(text.dictionary[4] == "w10");
  CHECK(text.dictionary.back() == "w5");
  CHECK(text.counts.back() == 2);
  std::map<std::string, int64_t> counts;
  for (size_t i = 0; i < samples.texts.size(); ++i) {
    const Strings expected = tokenize(samples.texts[i]);
    Strings got;
    for (int64_t at = text.offsets[i]; at < text.offsets[i + 1]; ++at) {
      got.push_back(text.dictionary[static_cast<size_t>(text.tokens[static_cast<size_t>(at)])]);
      ++counts[got.back()];
    }
    REQUIRE(got == expected);
  }
  for (size_t i = 0; i < text.counts.size(); ++i)
    REQUIRE(text.counts[i] == counts[text.dictionary[i]]);
  for (const int threads : {2, 5}) {
    const TokenizedText again = with_threads(threads, [&] { return tokenize(samples); });
    CHECK(again.dictionary == text.dictionary);
    CHECK(again.counts == text.counts);
    CHECK(again.tokens == text.tokens);
    CHECK(again.offsets == text.offsets);
  }
  samples.labels.pop_back();
  CHECK(error_of([&] { tokenize(samples); }) == "some: 2999 labels, expected 3000");
}

TEST_CASE("synthetic text: order tells every label, single words do not") {
  const TextSamples samples = synthetic_text(4000, 3);
  for (size_t i = 0; i < samples.texts.size(); ++i) {
    CAPTURE(samples.texts[i]);
    REQUIRE(label_by_order(samples.texts[i]) == samples.labels[i]);
  }
  for (const uint64_t seed : {1, 2, 3}) {
    const double accuracy = bag_of_words_accuracy(tokenize(synthetic_text(4000, seed)));
    CAPTURE(accuracy);
    CHECK(accuracy > 0.6);
    CHECK(accuracy < 0.85);
  }
}

TEST_CASE("synthetic text: balanced, the same for a seed, longer sets begin with shorter ones") {
  const TextSamples samples = synthetic_text(1000, 7);
  for (size_t i = 0; i < 1000; i += 2) REQUIRE(samples.labels[i] + samples.labels[i + 1] == 1);
  const TextSamples more = synthetic_text(1500, 7);
  CHECK(Strings(more.texts.begin(), more.texts.begin() + 1000) == samples.texts);
  CHECK(Labels(more.labels.begin(), more.labels.begin() + 1000) == samples.labels);
  CHECK(synthetic_text(1000, 8).texts != samples.texts);
  CHECK(std::set<std::string>(samples.texts.begin(), samples.texts.end()).size() > 990);
  for (const std::string& text : samples.texts) {
    REQUIRE(text.find_first_of("{}") == std::string::npos);
    REQUIRE(text.find("  ") == std::string::npos);
  }
  CHECK(error_of([] { synthetic_text(0, 1); }) ==
        "synthetic_text: count is 0, expected at least 1");
}

TEST_CASE("sst2: the full set has its published size") {
  if (!has_real_data("SST-2",
                     {"train.tsv", "SST-2/train.tsv", "sst2/train.tsv", "sst2/train.tsv.gz"}))
    return;
  const TextSamples train = load_sst2(real_data_folder(), Sst2Split::train);
  CHECK(train.texts.size() == 67349);
  const TextSamples dev = load_sst2(real_data_folder(), Sst2Split::dev);
  CHECK(dev.texts.size() == 872);
  CHECK(std::count(dev.labels.begin(), dev.labels.end(), 1) == 444);
}

TEST_CASE("imdb: the full set has its published size") {
  if (!has_real_data("IMDB", {"aclImdb/train", "train/neg"})) return;
  for (const ImdbSplit split : {ImdbSplit::train, ImdbSplit::test}) {
    const TextSamples samples =
        with_threads(2, [&] { return load_imdb(real_data_folder(), split); });
    CHECK(samples.texts.size() == 25000);
    CHECK(std::count(samples.labels.begin(), samples.labels.end(), 1) == 12500);
    CHECK(std::count(samples.labels.begin(), samples.labels.begin() + 500, 1) == 250);
  }
}
