#include <atomic>
#include <barrier>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "datasets/imdb.h"
#include "datasets/synthetic_text.h"
#include "datasets/token_cache.h"
#include "tests/file_helpers.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

namespace fs = std::filesystem;

// Texts and fingerprint as a test wants them; counts how often the texts were read.
struct Source {
  TextSamples samples{.name = "some"};
  uint64_t fingerprint = 1;
  int reads = 0;

  Source() {
    samples.texts = {"a good film", "", "a bad, bad film\n", "caf\xE9"};
    samples.labels = {1, 0, 0, 1};
  }
  TextSource source() {
    return {.name = samples.name,
            .fingerprint = [this] { return fingerprint; },
            .read =
                [this] {
                  ++reads;
                  return samples;
                }};
  }
  CacheUse use(const fs::path& cache) {
    CacheUse used = CacheUse::unwritten;
    const TokenizedText text = cached_tokens(source(), cache, &used);
    const TokenizedText expected = tokenize(samples);
    CHECK(text.name == expected.name);
    CHECK(text.classes == expected.classes);
    CHECK(text.dictionary == expected.dictionary);
    CHECK(text.counts == expected.counts);
    CHECK(text.tokens == expected.tokens);
    CHECK(text.offsets == expected.offsets);
    CHECK(text.labels == expected.labels);
    return used;
  }
};

int64_t files_in(const fs::path& folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

}  // namespace

TEST_CASE("token cache: written once, then used without reading the texts") {
  const TemporaryFolder folder;
  const fs::path cache = folder.path() / "some.tokens";
  Source source;
  CHECK(source.use(cache) == CacheUse::rebuilt);
  CHECK(source.reads == 1);
  const std::string bytes = read_whole_file(cache);
  for (int i = 0; i < 3; ++i) CHECK(source.use(cache) == CacheUse::loaded);
  CHECK(source.reads == 1);
  CHECK(read_whole_file(cache) == bytes);
  CHECK(files_in(folder.path()) == 1);
  CHECK(source.use("") == CacheUse::rebuilt);  // no cache
  CHECK(source.reads == 2);
}

TEST_CASE("token cache: touched files with the same texts confirm it, other texts rebuild it") {
  const TemporaryFolder folder;
  const fs::path cache = folder.path() / "some.tokens";
  Source source;
  source.use(cache);
  source.fingerprint = 2;
  CHECK(source.use(cache) == CacheUse::confirmed);
  CHECK(source.use(cache) == CacheUse::loaded);
  const auto changed = [&](const auto& change) {
    change();
    ++source.fingerprint;
    CHECK(source.use(cache) == CacheUse::rebuilt);
    CHECK(source.use(cache) == CacheUse::loaded);
  };
  changed([&] { source.samples.texts[0][0] = 'A'; });  // the same tokens, other bytes
  changed([&] { source.samples.texts[1].assign(1, 'x'); });
  changed([&] { source.samples.labels[2] = 1; });
  changed([&] { std::swap(source.samples.texts[0], source.samples.texts[2]); });
  changed([&] {
    source.samples.texts.pop_back();
    source.samples.labels.pop_back();
  });
  changed([&] { source.samples.name = "other"; });
  changed([&] { source.samples.classes = 3; });
}

TEST_CASE("token cache: cut, damaged or foreign, it is built anew") {
  const TemporaryFolder folder;
  const fs::path cache = folder.path() / "some.tokens";
  Source source;
  source.use(cache);
  const std::string bytes = read_whole_file(cache);
  for (size_t size = 0; size < bytes.size(); size += size < 40 ? 1 : 7) {
    CAPTURE(size);
    write_file(cache, bytes.substr(0, size));
    REQUIRE(source.use(cache) == CacheUse::rebuilt);
  }
  for (size_t at = 0; at < bytes.size(); at += at < 40 ? 1 : 5) {
    CAPTURE(at);
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << at % 8));
    write_file(cache, damaged);
    REQUIRE(source.use(cache) == CacheUse::rebuilt);
  }
  for (const std::string& foreign : {bytes + "x", std::string(1000, '\0'), std::string("text")}) {
    write_file(cache, foreign);
    CHECK(source.use(cache) == CacheUse::rebuilt);
  }
  CHECK(read_whole_file(cache) == bytes);
}

TEST_CASE("token cache: where it cannot be written, the texts come all the same") {
  const TemporaryFolder folder;
  Source source;
  CHECK(source.use(folder.path() / "none/some.tokens") == CacheUse::unwritten);
  const fs::path taken = folder.path() / "taken";
  fs::create_directories(taken / "inside");
  CHECK(source.use(taken) == CacheUse::unwritten);
  CHECK(files_in(folder.path()) == 1);  // nothing half-written
}

TEST_CASE("token cache: writers and readers at once see whole caches only") {
  const TemporaryFolder folder;
  const fs::path cache = folder.path() / "some.tokens";
  std::atomic<int> wrong = 0;
  std::barrier together(4);
  std::vector<std::thread> threads;
  for (uint64_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      Source source;
      source.samples = synthetic_text(2000, 1);
      source.fingerprint = thread;  // each finds the others' caches stale and writes its own
      const TokenizedText expected = tokenize(source.samples);
      for (int i = 0; i < 40; ++i) {
        together.arrive_and_wait();
        CacheUse used = CacheUse::unwritten;
        const TokenizedText text = cached_tokens(source.source(), cache, &used);
        // Once there is a cache, it is never found damaged: never rebuilt, but by the first.
        if (text.tokens != expected.tokens || used == CacheUse::unwritten) ++wrong;
        if (i > 0 && used == CacheUse::rebuilt) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong.load() == 0);
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("token cache: a changed, added, removed or renamed review is noticed") {
  const TemporaryFolder folder;
  const fs::path cache = folder.path() / "imdb.tokens";
  const fs::path reviews = folder.path() / "train";
  write_file(reviews / "neg/1_1.txt", "bad");
  write_file(reviews / "neg/2_1.txt", "dull");
  write_file(reviews / "pos/1_9.txt", "good");
  const auto use = [&] {
    CacheUse used = CacheUse::unwritten;
    const TokenizedText text =
        cached_tokens(imdb_source(folder.path(), ImdbSplit::train), cache, &used);
    const TokenizedText expected = tokenize(load_imdb(folder.path(), ImdbSplit::train));
    CHECK(text.tokens == expected.tokens);
    CHECK(text.dictionary == expected.dictionary);
    CHECK(text.labels == expected.labels);
    return used;
  };
  const auto wait = [] { std::this_thread::sleep_for(std::chrono::milliseconds(20)); };
  CHECK(use() == CacheUse::rebuilt);
  CHECK(use() == CacheUse::loaded);
  const auto time = fs::last_write_time(reviews / "neg/1_1.txt");
  wait();
  write_file(reviews / "neg/1_1.txt", "mad");  // the same size, and its time set back
  fs::last_write_time(reviews / "neg/1_1.txt", time);
  CHECK(use() == CacheUse::rebuilt);
  wait();
  write_file(reviews / "neg/1_1.txt", "mad");
  CHECK(use() == CacheUse::confirmed);
  write_file(reviews / "pos/2_8.txt", "great");
  CHECK(use() == CacheUse::rebuilt);
  fs::remove(reviews / "neg/1_1.txt");
  CHECK(use() == CacheUse::rebuilt);
  fs::rename(reviews / "pos/1_9.txt", reviews / "pos/3_9.txt");  // now after "great"
  CHECK(use() == CacheUse::rebuilt);
  CHECK(use() == CacheUse::loaded);
}
