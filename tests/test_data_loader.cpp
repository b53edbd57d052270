#include <algorithm>
#include <atomic>
#include <chrono>
#include <set>
#include <stdexcept>
#include <thread>

#include "datasets/synthetic.h"
#include "framework/sample_loader.h"
#include "tests/gather_one.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

using Indices = std::vector<int64_t>;

// Sample i is x = [i, epoch], label i. Fails on `broken`; counts the batches it has finished.
class CountingDataset : public Dataset {
 public:
  explicit CountingDataset(int64_t size, int64_t broken = -1) : size_(size), broken_(broken) {}
  const std::string& name() const override { return name_; }
  int64_t size() const override { return size_; }
  int64_t classes() const override { return size_; }
  Shape sample_shape() const override { return {2}; }
  void gather(const Stream&, const int64_t* indices, int64_t n, const Augmentation&, uint64_t,
              const uint32_t* epoch, float* x, int32_t* labels) const override {
    for (int64_t i = 0; i < n; ++i) {
      if (indices[i] == broken_) throw std::domain_error(str("sample ", broken_, " is broken"));
      x[2 * i] = static_cast<float>(indices[i]);
      x[2 * i + 1] = static_cast<float>(*epoch);
      labels[i] = static_cast<int32_t>(indices[i]);
    }
    ++gathered;
  }
  void wait_until_gathered(int64_t batches) const {
    for (int i = 0; i < 5000 && gathered < batches; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    REQUIRE(gathered == batches);
  }

  mutable std::atomic<int64_t> gathered = 0;

 private:
  std::string name_ = "counting";
  int64_t size_, broken_;
};

std::vector<int32_t> labels_in(const Batch& batch) {
  return batch.labels.to_host<int32_t>(stream());
}
std::vector<float> pixels_in(const Batch& batch) { return batch.x.to_host<float>(stream()); }

// The samples of one epoch in their order.
std::vector<int32_t> next_epoch(SampleLoader& loader) {
  std::vector<int32_t> order;
  for (int64_t i = 0; i < loader.batches_per_epoch(); ++i) {
    const std::vector<int32_t> labels = labels_in(loader.next());
    order.insert(order.end(), labels.begin(), labels.end());
  }
  return order;
}

// Images whose label is their position, so that a batch tells which samples it holds.
ImageDataset numbered_images(int64_t count) {
  ImageData data = synthetic_images(count, 9, 8, 2, 2, 5);
  for (int64_t i = 0; i < count; ++i) data.labels[static_cast<size_t>(i)] = static_cast<int32_t>(i);
  data.classes = count;
  return ImageDataset(std::move(data));
}

constexpr Augmentation kFlipRotate{.flip_probability = 0.5, .rotation_degrees = 10};

}  // namespace

TEST_CASE("data loader: every sample comes once an epoch, and only the last batch is smaller") {
  for (const int64_t size : {1, 7, 64, 65, 130}) {
    const CountingDataset dataset(size);
    for (const int64_t batch_size : {1, 7, 64, 200}) {
      for (const int prefetch : {0, 2}) {
        for (const bool shuffle : {false, true}) {
          SampleLoader loader(
              stream(), dataset, first_indices(size),
              {.batch_size = batch_size, .shuffle = shuffle, .seed = 4, .prefetch = prefetch});
          REQUIRE(loader.batches_per_epoch() == (size + batch_size - 1) / batch_size);
          for (int64_t epoch = 0; epoch < 2; ++epoch) {
            std::set<int32_t> seen;
            for (int64_t i = 0; i < loader.batches_per_epoch(); ++i) {
              const Batch batch = loader.next();
              REQUIRE(batch.epoch == epoch);
              REQUIRE(batch.index == i);
              REQUIRE(batch.count == std::min(batch_size, size - i * batch_size));
              REQUIRE(batch.x.shape() == Shape({batch.count, 2}));
              REQUIRE(batch.labels.shape() == Shape({batch.count}));
              const std::vector<int32_t> labels = labels_in(batch);
              const std::vector<float> x = pixels_in(batch);
              for (size_t row = 0; row < labels.size(); ++row) {
                REQUIRE(seen.insert(labels[row]).second);
                REQUIRE(x[2 * row] == static_cast<float>(labels[row]));
                REQUIRE(x[2 * row + 1] == static_cast<float>(epoch));
              }
            }
            REQUIRE(static_cast<int64_t>(seen.size()) == size);
          }
        }
      }
    }
  }
}

TEST_CASE("data loader: without shuffle the chosen samples keep their order") {
  const CountingDataset dataset(20);
  SampleLoader loader(stream(), dataset, {7, 3, 19, 0, 11}, {.batch_size = 2, .shuffle = false});
  for (int epoch = 0; epoch < 3; ++epoch) {
    CHECK(next_epoch(loader) == std::vector<int32_t>{7, 3, 19, 0, 11});
  }
}

TEST_CASE("data loader: the order depends on seed and epoch alone") {
  const CountingDataset dataset(100);
  const auto orders = [&](uint64_t seed, int64_t batch_size, int prefetch) {
    SampleLoader loader(stream(), dataset, first_indices(100),
                        {.batch_size = batch_size, .seed = seed, .prefetch = prefetch});
    std::vector<std::vector<int32_t>> all(3);
    for (auto& order : all) order = next_epoch(loader);
    return all;
  };
  const auto first = orders(1, 10, 2);
  CHECK(first == orders(1, 10, 2));
  CHECK(first == orders(1, 33, 0));
  CHECK(first == orders(1, 100, 5));
  CHECK(first[0] != first[1]);
  CHECK(first[1] != first[2]);
  const auto other = orders(2, 10, 2);
  for (size_t epoch = 0; epoch < 3; ++epoch) CHECK(first[epoch] != other[epoch]);
  // Shuffled means moved: of 100 places about one stays.
  int64_t kept = 0;
  for (size_t i = 0; i < 100; ++i) kept += first[0][i] == static_cast<int32_t>(i) ? 1 : 0;
  CHECK(kept < 8);
}

TEST_CASE("data loader: prefetching any number of batches gives the same bytes") {
  const ImageDataset dataset = numbered_images(23);
  const auto epochs = [&](int prefetch) {
    SampleLoader loader(
        stream(), dataset, first_indices(23),
        {.batch_size = 5, .seed = 8, .augmentation = kFlipRotate, .prefetch = prefetch});
    std::vector<float> all;
    for (int64_t i = 0; i < 3 * loader.batches_per_epoch(); ++i) {
      const std::vector<float> x = pixels_in(loader.next());
      all.insert(all.end(), x.begin(), x.end());
    }
    return all;
  };
  const std::vector<float> expected = epochs(0);
  for (const int prefetch : {1, 2, 3, 20}) CHECK(epochs(prefetch) == expected);
}

TEST_CASE("data loader: seek resumes exactly, augmentation included") {
  const ImageDataset dataset = numbered_images(23);
  for (const int prefetch : {0, 2}) {
    const SampleLoaderOptions options{
        .batch_size = 5, .seed = 8, .augmentation = kFlipRotate, .prefetch = prefetch};
    SampleLoader whole(stream(), dataset, first_indices(23), options);
    std::vector<std::vector<float>> pixels;
    std::vector<std::vector<int32_t>> labels;
    for (int i = 0; i < 15; ++i) {
      const Batch batch = whole.next();
      pixels.push_back(pixels_in(batch));
      labels.push_back(labels_in(batch));
    }
    SampleLoader resumed(stream(), dataset, first_indices(23), options);
    for (const int64_t start : {7, 14, 0, 4, 5}) {  // backwards, too
      resumed.seek(start / 5, start % 5);
      for (int64_t i = start; i < std::min<int64_t>(start + 3, 15); ++i) {
        const Batch batch = resumed.next();
        CHECK(batch.epoch == i / 5);
        CHECK(batch.index == i % 5);
        CHECK(pixels_in(batch) == pixels[static_cast<size_t>(i)]);
        CHECK(labels_in(batch) == labels[static_cast<size_t>(i)]);
      }
    }
  }
}

TEST_CASE("data loader: a batch is valid until the second next() after it") {
  for (const int prefetch : {0, 1, 2, 4}) {
    CAPTURE(prefetch);
    const CountingDataset dataset(40);
    SampleLoader loader(stream(), dataset, first_indices(40),
                        {.batch_size = 3, .seed = 2, .prefetch = prefetch});
    Batch previous = loader.next();
    std::vector<float> expected = pixels_in(previous);
    for (int64_t i = 1; i < 40; ++i) {
      const Batch batch = loader.next();
      dataset.wait_until_gathered(i + 1 + prefetch);  // all that may be written ahead
      REQUIRE(pixels_in(previous) == expected);
      previous = batch;
      expected = pixels_in(batch);
    }
  }
}

TEST_CASE("data loader: a batch outlives seek() like next()") {
  for (const int prefetch : {0, 1, 2, 4}) {
    CAPTURE(prefetch);
    const CountingDataset dataset(40);
    SampleLoader loader(stream(), dataset, first_indices(40),
                        {.batch_size = 3, .seed = 2, .prefetch = prefetch});
    const Batch first = loader.next();
    const Batch second = loader.next();
    const std::vector<float> first_pixels = pixels_in(first), second_pixels = pixels_in(second);
    int64_t gathered = 2 + prefetch;
    for (int i = 0; i < 5; ++i) {
      dataset.wait_until_gathered(gathered);
      loader.seek(i, 0);
      gathered += prefetch;
    }
    dataset.wait_until_gathered(gathered);
    CHECK(pixels_in(first) == first_pixels);
    CHECK(pixels_in(second) == second_pixels);
    loader.next();
    dataset.wait_until_gathered(gathered + 1);
    CHECK(pixels_in(second) == second_pixels);
  }
}

TEST_CASE("data loader: what the data set throws comes out of next(), and seek() goes on") {
  for (const int prefetch : {0, 1, 3}) {
    CAPTURE(prefetch);
    const CountingDataset dataset(12, 7);  // batches of 3: the third one fails
    SampleLoader loader(stream(), dataset, first_indices(12),
                        {.batch_size = 3, .shuffle = false, .prefetch = prefetch});
    CHECK(labels_in(loader.next()) == std::vector<int32_t>{0, 1, 2});
    CHECK(labels_in(loader.next()) == std::vector<int32_t>{3, 4, 5});
    CHECK_THROWS_WITH_AS(loader.next(), "sample 7 is broken", std::domain_error);
    CHECK_THROWS_WITH_AS(loader.next(), "sample 7 is broken", std::domain_error);
    loader.seek(1, 1);
    CHECK(labels_in(loader.next()) == std::vector<int32_t>{3, 4, 5});
    CHECK_THROWS_AS(loader.next(), std::domain_error);
    loader.seek(0, 3);
    CHECK(labels_in(loader.next()) == std::vector<int32_t>{9, 10, 11});
  }
}

TEST_CASE("data loader: can be dropped at any moment") {
  const CountingDataset dataset(50, 20);
  for (int batches = 0; batches < 4; ++batches) {
    for (int repeat = 0; repeat < 20; ++repeat) {
      SampleLoader loader(stream(), dataset, first_indices(50),
                          {.batch_size = 5, .shuffle = false});
      for (int i = 0; i < batches; ++i) loader.next();
    }
  }
}

TEST_CASE("data loader: bad arguments are refused with one line") {
  const CountingDataset dataset(10);
  const auto make = [&](const Indices& indices, const SampleLoaderOptions& options) {
    return error_of([&] { SampleLoader(stream(), dataset, indices, options); });
  };
  CHECK(make({1}, {.batch_size = 0}) == "data loader: batch size is 0, expected at least 1");
  CHECK(make({1}, {.batch_size = -3}) == "data loader: batch size is -3, expected at least 1");
  CHECK(make({1}, {.prefetch = -1}) == "data loader: prefetch is -1, expected at least 0");
  CHECK(make({}, {}) == "data loader: no samples chosen from counting");
  CHECK(make({0, 10}, {}) == "data loader: sample 10 of counting, expected below 10");
  CHECK(make({0, -1}, {}) == "data loader: sample -1 of counting, expected below 10");
  SampleLoader loader(stream(), dataset, first_indices(10), {.batch_size = 4});
  for (const auto& place : std::vector<std::pair<int64_t, int64_t>>{{-1, 0}, {0, -1}, {0, 3}}) {
    CHECK(contains(error_of([&] { loader.seek(place.first, place.second); }),
                   str("seek to epoch ", place.first, ", batch ", place.second)));
  }
  CHECK(next_epoch(loader).size() == 10);  // and the refusals changed nothing

  class : public CountingDataset {
   public:
    using CountingDataset::CountingDataset;
    Shape sample_shape() const override { return {2, 1}; }
  } matrices(10);
  CHECK(error_of([&] { SampleLoader(stream(), matrices, {1}, {}); }) ==
        "data loader: a sample of counting has shape [2,1], expected 1 or 3 axes");

  ImageData data = synthetic_images(4, 3, 3, 1, 2, 1);
  data.labels.pop_back();
  CHECK(contains(error_of([&] { ImageDataset(std::move(data)); }), "3 labels, expected 36 and 4"));
}

TEST_CASE("augmentation: a sample's change does not depend on its place in the batch") {
  const ImageDataset dataset = numbered_images(23);
  const auto size = static_cast<size_t>(dataset.sample_shape().count());
  SampleLoader loader(stream(), dataset, first_indices(23),
                      {.batch_size = 7, .seed = 3, .augmentation = kFlipRotate});
  for (int64_t i = 0; i < 2 * loader.batches_per_epoch(); ++i) {
    const Batch batch = loader.next();
    const std::vector<float> x = pixels_in(batch);
    const std::vector<int32_t> labels = labels_in(batch);
    for (size_t row = 0; row < labels.size(); ++row) {
      int32_t label = -1;
      const std::vector<float> alone =
          gather_one(dataset, labels[row], static_cast<uint32_t>(batch.epoch), kFlipRotate, &label);
      REQUIRE(label == labels[row]);
      REQUIRE(std::equal(alone.begin(), alone.end(),
                         x.begin() + static_cast<std::ptrdiff_t>(row * size)));
    }
  }
}

TEST_CASE("augmentation: flip-rotate changes pixels, epoch by epoch, and keeps the label") {
  const ImageDataset dataset = numbered_images(50);
  int64_t same_as_plain = 0, same_next_epoch = 0, same_other_seed = 0;
  for (int64_t i = 0; i < 50; ++i) {
    int32_t label = -1;
    const auto changed = [&](uint32_t epoch, uint64_t seed) {
      return gather_one(dataset, i, epoch, kFlipRotate, &label, seed);
    };
    const std::vector<float> now = changed(0, 3);
    CHECK(label == i);
    same_as_plain += now == gather_one(dataset, i, 0, {}, &label) ? 1 : 0;
    same_next_epoch += now == changed(1, 3) ? 1 : 0;
    same_other_seed += now == changed(0, 4) ? 1 : 0;
  }
  CHECK(same_as_plain == 0);
  CHECK(same_next_epoch == 0);
  CHECK(same_other_seed == 0);
}
