#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "framework/dataset.h"
#include "framework/text_loader.h"
#include "kernels/cpu/parallel.h"
#include "kernels/philox.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

using Lengths = std::vector<int64_t>;
using Shapes = std::set<std::pair<int64_t, int64_t>>;  // time, count

// Sequence i has label i and tokens i * 1000 + 1, i * 1000 + 2, ...
TextData numbered(const Lengths& lengths) {
  TextData data;
  data.name = "numbered";
  data.classes = static_cast<int64_t>(lengths.size());
  data.vocabulary = 1'000'000'000;
  data.offsets.push_back(0);
  for (size_t i = 0; i < lengths.size(); ++i) {
    for (int64_t t = 1; t <= lengths[i]; ++t) {
      data.tokens.push_back(static_cast<int32_t>(static_cast<int64_t>(i) * 1000 + t));
    }
    data.offsets.push_back(static_cast<int64_t>(data.tokens.size()));
    data.labels.push_back(static_cast<int32_t>(i));
  }
  return data;
}

// `count` lengths in 1..most, more short ones than long ones.
Lengths skewed(int64_t count, int64_t most, uint64_t seed) {
  Lengths lengths;
  for (int64_t i = 0; i < count; ++i) {
    const PhiloxWords words = philox_at(static_cast<uint64_t>(i), 0, 9, seed);
    lengths.push_back(1 + std::min(words.word[0] % most, words.word[1] % most));
  }
  return lengths;
}

struct HostBatch {
  int64_t time, count;
  std::vector<int32_t> x, labels, lengths;
  bool operator==(const HostBatch&) const = default;
};

HostBatch on_host(const Batch& batch) {
  return {batch.x.shape()[0], batch.count, batch.x.to_host<int32_t>(stream()),
          batch.labels.to_host<int32_t>(stream()), batch.lengths.to_host<int32_t>(stream())};
}

std::vector<HostBatch> batches_of(const TextData& data, const TextLoaderOptions& options,
                                  int64_t epochs) {
  TextLoader loader(stream(), data, first_indices(data.size()), options);
  std::vector<HostBatch> batches;
  for (int64_t i = 0; i < epochs * loader.batches_per_epoch(); ++i) {
    batches.push_back(on_host(loader.next()));
  }
  return batches;
}

// The padded tokens of all sequences in these buckets.
int64_t padded(const Lengths& lengths, const Lengths& buckets) {
  int64_t total = 0;
  for (const int64_t length : lengths) {
    total += *std::lower_bound(buckets.begin(), buckets.end(), length);
  }
  return total;
}

}  // namespace

TEST_CASE("text loader: every sequence comes once an epoch, whole and padded with zeros") {
  for (const int64_t size : {1, 7, 64, 65, 300}) {
    const Lengths lengths = skewed(size, 50, 1);
    const TextData data = numbered(lengths);
    for (const int64_t batch_size : {1, 8, 64, 400}) {
      for (const bool shuffle : {false, true}) {
        for (const int prefetch : {0, 2}) {
          TextLoader loader(stream(), data, first_indices(size),
                            {.batch_size = batch_size,
                             .shuffle = shuffle,
                             .seed = 4,
                             .bucket_lengths = {8, 16, 24, 64},
                             .prefetch = prefetch});
          REQUIRE(loader.samples() == size);
          REQUIRE(loader.batches_per_epoch() == (size + batch_size - 1) / batch_size);
          for (int64_t epoch = 0; epoch < 2; ++epoch) {
            std::set<int32_t> seen;
            for (int64_t index = 0; index < loader.batches_per_epoch(); ++index) {
              const Batch batch = loader.next();
              REQUIRE(batch.epoch == epoch);
              REQUIRE(batch.index == index);
              REQUIRE(batch.count == std::min(batch_size, size - index * batch_size));
              REQUIRE(batch.x.dtype() == DType::i32);
              const HostBatch host = on_host(batch);
              REQUIRE(batch.x.shape() == Shape({host.time, batch.count}));
              for (size_t i = 0; i < host.labels.size(); ++i) {
                const int32_t sample = host.labels[i];
                REQUIRE(seen.insert(sample).second);
                const int64_t length = lengths[static_cast<size_t>(sample)];
                REQUIRE(host.lengths[i] == length);
                REQUIRE(length <= host.time);
                for (int64_t t = 0; t < host.time; ++t) {
                  REQUIRE(host.x[static_cast<size_t>(t * batch.count) + i] ==
                          (t < length ? sample * 1000 + t + 1 : 0));
                }
              }
            }
            REQUIRE(static_cast<int64_t>(seen.size()) == size);
          }
        }
      }
    }
  }
}

TEST_CASE("text loader: a shape a bucket, one more for the last batch, the same every epoch") {
  const TextData data = numbered(skewed(1003, 200, 2));
  for (const int64_t buckets : {1, 3, 8}) {
    TextLoader loader(stream(), data, first_indices(1003),
                      {.batch_size = 32, .seed = 1, .buckets = buckets});
    Shapes first;
    for (int64_t epoch = 0; epoch < 4; ++epoch) {
      Shapes shapes;
      for (int64_t i = 0; i < loader.batches_per_epoch(); ++i) {
        const Batch batch = loader.next();
        shapes.insert({batch.x.shape()[0], batch.count});
        CHECK(batch.count == (i + 1 < loader.batches_per_epoch() ? 32 : 1003 % 32));
      }
      CHECK(static_cast<int64_t>(shapes.size()) <= buckets + 1);
      if (epoch == 0) first = shapes;
      CHECK(shapes == first);
    }
  }
}

TEST_CASE("text loader: the order depends on seed and epoch alone") {
  const TextData data = numbered(skewed(500, 100, 3));
  const auto batches = [&](uint64_t seed, int prefetch, int threads) {
    cpu::set_threads(threads);
    auto all = batches_of(data, {.batch_size = 16, .seed = seed, .prefetch = prefetch}, 3);
    cpu::set_threads(1);
    return all;
  };
  const std::vector<HostBatch> first = batches(1, 2, 1);
  CHECK(first == batches(1, 0, 1));
  CHECK(first == batches(1, 5, 4));
  CHECK(first != batches(2, 2, 1));
  const auto epoch_of = [&](size_t epoch) {
    const size_t size = first.size() / 3;
    return std::vector<HostBatch>(first.begin() + static_cast<std::ptrdiff_t>(epoch * size),
                                  first.begin() + static_cast<std::ptrdiff_t>((epoch + 1) * size));
  };
  CHECK(epoch_of(0) != epoch_of(1));
  CHECK(epoch_of(1) != epoch_of(2));
  const auto times = [](const std::vector<HostBatch>& batches, size_t epoch) {
    const size_t size = batches.size() / 3;
    std::vector<int64_t> all;
    for (size_t i = 0; i < size; ++i) all.push_back(batches[epoch * size + i].time);
    return all;
  };
  CHECK(times(first, 0) != times(first, 1));
  CHECK(times(first, 0) != times(batches(2, 2, 1), 0));
  // Batches are not only in another order: their sequences change company, and long and short
  // batches mix.
  std::set<std::set<int32_t>> companies;
  for (const HostBatch& batch : first) companies.insert({batch.labels.begin(), batch.labels.end()});
  CHECK(companies.size() > first.size() * 9 / 10);
  int64_t longer = 0;
  const std::vector<HostBatch> epoch = epoch_of(0);
  for (size_t i = 1; i < epoch.size(); ++i) longer += epoch[i].time > epoch[i - 1].time ? 1 : 0;
  CHECK(longer > static_cast<int64_t>(epoch.size()) / 4);
}

TEST_CASE("text loader: without shuffle batches go from short to long, inside a bucket as chosen") {
  const TextData data = numbered({20, 3, 9, 2, 8, 16, 1, 30});
  TextLoader loader(stream(), data, {7, 6, 5, 4, 3, 2, 1, 0},
                    {.batch_size = 3, .shuffle = false, .bucket_lengths = {8, 16, 40}});
  for (int epoch = 0; epoch < 2; ++epoch) {
    const HostBatch one = on_host(loader.next());
    const HostBatch two = on_host(loader.next());
    const HostBatch three = on_host(loader.next());
    CHECK(one.labels == std::vector<int32_t>{6, 4, 3});
    CHECK(two.labels == std::vector<int32_t>{1, 5, 2});
    CHECK(three.labels == std::vector<int32_t>{7, 0});
    CHECK((one.time == 8 && two.time == 16 && three.time == 40));
  }
}

TEST_CASE("text loader: seek returns to any batch exactly") {
  const TextData data = numbered(skewed(200, 60, 4));
  const TextLoaderOptions options{.batch_size = 16, .seed = 5};
  const std::vector<HostBatch> all = batches_of(data, options, 3);
  TextLoader loader(stream(), data, first_indices(200), options);
  const int64_t size = loader.batches_per_epoch();
  for (const int64_t at : {int64_t{0}, size - 1, size, 2 * size + 3, int64_t{5}}) {
    loader.seek(at / size, at % size);
    CHECK(on_host(loader.next()) == all[static_cast<size_t>(at)]);
    if (at + 1 < 3 * size) CHECK(on_host(loader.next()) == all[static_cast<size_t>(at) + 1]);
  }
  CHECK(error_of([&] { loader.seek(0, size); }) ==
        "text loader: seek to epoch 0, batch 13, expected at least 0 and a batch below 13");
  CHECK(!error_of([&] { loader.seek(-1, 0); }).empty());
}

TEST_CASE("bucket lengths: least padding of all choices, few and multiples of 8") {
  const Lengths lengths = skewed(300, 60, 6);
  const TextData data = numbered(lengths);
  const Lengths all = first_indices(300);
  const auto longest = *std::max_element(lengths.begin(), lengths.end());
  REQUIRE(longest > 48);
  REQUIRE(longest <= 56);
  int64_t best = padded(lengths, {56});
  CHECK(bucket_lengths(data, all, 1) == Lengths{56});
  for (int64_t a = 8; a < 56; a += 8) {
    for (int64_t b = a + 8; b < 56; b += 8) best = std::min(best, padded(lengths, {a, b, 56}));
  }
  const Lengths three = bucket_lengths(data, all, 3);
  CHECK(three.size() == 3);
  CHECK(padded(lengths, three) == best);
  CHECK(bucket_lengths(data, all, 100) == Lengths{8, 16, 24, 32, 40, 48, 56});
  CHECK(bucket_lengths(numbered({5, 5, 5}), {0, 1, 2}, 4) == Lengths{8});
  CHECK(bucket_lengths(numbered({8, 9, 17}), {0, 1}, 4) == Lengths{8, 16});  // of the chosen ones
}

TEST_CASE("text loader: bad arguments are refused") {
  const TextData data = numbered({3, 9, 20});
  const auto refused = [&](const Lengths& indices, const TextLoaderOptions& options) {
    return error_of([&] { TextLoader(stream(), data, indices, options); });
  };
  CHECK(refused({}, {}) == "text loader: no samples chosen from numbered");
  CHECK(refused({3}, {}) == "text loader: sample 3 of numbered, expected below 3");
  CHECK(refused({-1}, {.bucket_lengths = {32}}) ==
        "text loader: sample -1 of numbered, expected below 3");
  CHECK(refused({0}, {.batch_size = 0}) == "text loader: batch size is 0, expected at least 1");
  CHECK(refused({0}, {.buckets = 0}) == "text loader: 0 buckets, expected at least 1");
  CHECK(refused({0, 2}, {.bucket_lengths = {8, 16}}) ==
        "text loader: sequence 2 of numbered has length 20, expected 1..16");
  CHECK(refused({0}, {.bucket_lengths = {16, 16}}) ==
        "text loader: length of bucket 1 is 16, expected at least 17");
  CHECK(refused({0}, {.bucket_lengths = {0, 16}}) ==
        "text loader: length of bucket 0 is 0, expected at least 1");
  CHECK(refused({0}, {.prefetch = -1}) == "data loader: prefetch is -1, expected at least 0");
  const TextData empty = numbered({3, 0});
  CHECK(error_of([&] { TextLoader(stream(), empty, {1}, {.bucket_lengths = {8}}); }) ==
        "text loader: sequence 1 of numbered has length 0, expected 1..8");
}
