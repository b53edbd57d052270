#include <cmath>

#include "datasets/synthetic.h"
#include "tests/gather_one.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

// chi^2 of counts that should be alike.
double chi_squared(const std::vector<int64_t>& counts) {
  double total = 0, sum = 0;
  for (const int64_t count : counts) total += static_cast<double>(count);
  const double expected = total / static_cast<double>(counts.size());
  for (const int64_t count : counts) {
    sum += std::pow(static_cast<double>(count) - expected, 2) / expected;
  }
  return sum;
}

// One image whose pixel at (row, column) is value(row, column).
template <class Value>
ImageDataset painted(int64_t side, const Value& value) {
  ImageData data = synthetic_images(1, side, side, 1, 2, 9);
  for (int64_t i = 0; i < side * side; ++i) {
    data.pixels[static_cast<size_t>(i)] = static_cast<uint8_t>(value(i / side, i % side));
  }
  data.mean = {0};
  data.deviation = {1};
  return ImageDataset(std::move(data));
}

}  // namespace

TEST_CASE("augmentation: a certain flip mirrors every row, none leaves the normalised pixels") {
  const ImageData data = synthetic_images(6, 5, 4, 1, 2, 9);
  const ImageDataset dataset(data);
  for (int64_t i = 0; i < 6; ++i) {
    int32_t label = -1;
    const std::vector<float> plain = gather_one(dataset, i, 0, {}, &label);
    const std::vector<float> mirrored =
        gather_one(dataset, i, 0, {.flip_probability = 1, .rotation_degrees = 0}, &label);
    CHECK(label == data.labels[static_cast<size_t>(i)]);
    for (size_t row = 0; row < 5; ++row) {
      for (size_t column = 0; column < 4; ++column) {
        const double pixel = data.pixels[static_cast<size_t>(i) * 20 + row * 4 + column];
        CHECK(plain[row * 4 + column] == doctest::Approx((pixel / 255 - 0.5) / 0.22).epsilon(1e-5));
        CHECK(mirrored[row * 4 + 3 - column] == plain[row * 4 + column]);
      }
    }
  }
}

TEST_CASE("augmentation: a crop shifts the image over zeros, by every offset equally often") {
  constexpr int64_t kPadding = 2, kSide = 6, kPlaces = 2 * kPadding + 1, kImages = 5000;
  ImageData data = synthetic_images(1, kSide, kSide, 1, 2, 9);
  for (size_t i = 0; i < data.pixels.size(); ++i) data.pixels[i] = static_cast<uint8_t>(i + 1);
  const ImageDataset dataset(std::move(data));
  int32_t label = -1;
  const std::vector<float> plain = gather_one(dataset, 0, 0, {}, &label);
  const float outside = 2 * plain[0] - plain[1];  // pixel 0, as the pixels are 1, 2, ...
  std::vector<int64_t> seen(kPlaces * kPlaces);
  for (uint32_t epoch = 0; epoch < kImages; ++epoch) {
    const std::vector<float> cropped =
        gather_one(dataset, 0, epoch, {.crop_padding = kPadding}, &label);
    int64_t matches = 0;
    for (int64_t place = 0; place < kPlaces * kPlaces; ++place) {
      const int64_t down = place / kPlaces - kPadding, right = place % kPlaces - kPadding;
      bool same = true;
      for (int64_t i = 0; i < kSide * kSide; ++i) {
        const int64_t row = i / kSide + down, column = i % kSide + right;
        const bool inside = row >= 0 && row < kSide && column >= 0 && column < kSide;
        const float wanted = inside ? plain[static_cast<size_t>(row * kSide + column)] : outside;
        same = same && std::abs(cropped[static_cast<size_t>(i)] - wanted) < 1e-4F;
      }
      matches += same ? 1 : 0;
      seen[static_cast<size_t>(place)] += same ? 1 : 0;
    }
    REQUIRE(matches == 1);
  }
  // 200 of each are expected; chi-squared with 24 degrees of freedom is above 60 once in 10^4.
  CHECK(chi_squared(seen) < 60);
}

TEST_CASE("augmentation: half of the images are mirrored, whatever the epoch before did") {
  constexpr uint32_t kEpochs = 4000;
  const ImageDataset dataset = painted(4, [](int64_t, int64_t column) { return 10 * column; });
  std::vector<int64_t> pairs(4);  // of an epoch and the one before: mirrored or not
  bool before = false;
  for (uint32_t epoch = 0; epoch <= kEpochs; ++epoch) {
    int32_t label = -1;
    const std::vector<float> x = gather_one(dataset, 0, epoch, {.flip_probability = 0.5}, &label);
    const bool mirrored = x[0] > x[3];
    if (epoch > 0) ++pairs[2 * (before ? 1 : 0) + (mirrored ? 1 : 0)];
    before = mirrored;
  }
  CHECK(chi_squared(pairs) < 21);  // 3 degrees of freedom: above it once in 10^4
}

TEST_CASE("augmentation: the probability of a mirror is the one that was asked for") {
  const ImageDataset dataset = painted(4, [](int64_t, int64_t column) { return 10 * column; });
  for (const double probability : {0.1, 0.8}) {
    int64_t mirrored = 0;
    for (uint32_t epoch = 0; epoch < 4000; ++epoch) {
      int32_t label = -1;
      const std::vector<float> x =
          gather_one(dataset, 0, epoch, {.flip_probability = probability}, &label);
      mirrored += x[0] > x[3] ? 1 : 0;
    }
    // Four standard deviations.
    CHECK(std::abs(static_cast<double>(mirrored) / 4000 - probability) <
          4 * std::sqrt(probability * (1 - probability) / 4000));
  }
}

TEST_CASE("augmentation: angles are uniform between -10 and 10 degrees") {
  constexpr int64_t kSide = 21, kCentre = kSide / 2, kArm = 6, kBins = 20;
  constexpr double kDegrees = 10;
  const ImageDataset dataset = painted(kSide, [](int64_t, int64_t column) { return 10 * column; });
  std::vector<int64_t> bins(kBins);
  for (uint32_t epoch = 0; epoch < 4000; ++epoch) {
    int32_t label = -1;
    const std::vector<float> x =
        gather_one(dataset, 0, epoch, {.rotation_degrees = kDegrees}, &label);
    // On a ramp along the columns, a pixel below the centre by `arm` shows arm * sin(angle) columns
    // aside.
    const double aside =
        (x[(kCentre + kArm) * kSide + kCentre] - x[kCentre * kSide + kCentre]) * 255 / 10 / kArm;
    const double degrees = std::asin(aside) * 180 / 3.14159265358979;
    REQUIRE(std::abs(degrees) < kDegrees + 0.1);
    const auto bin = static_cast<int64_t>((degrees + kDegrees) / (2 * kDegrees) * kBins);
    ++bins[static_cast<size_t>(std::clamp(bin, int64_t{0}, kBins - 1))];
  }
  CHECK(chi_squared(bins) < 52);  // 19 degrees of freedom: above it once in 10^4
}
