#include <doctest/doctest.h>
#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "datasets/synthetic.h"
#include "kernels/error.h"

namespace {

using flyball::ImageData;

uint32_t crc(const std::vector<uint8_t>& bytes) {
  return static_cast<uint32_t>(
      crc32(crc32(0, nullptr, 0), bytes.data(), static_cast<unsigned>(bytes.size())));
}

}  // namespace

TEST_CASE("synthetic: a seed gives the same bytes, another seed gives others") {
  const ImageData first = flyball::synthetic_images(50, 12, 10, 3, 7, 1);
  CHECK(first.pixels == flyball::synthetic_images(50, 12, 10, 3, 7, 1).pixels);
  CHECK(first.pixels != flyball::synthetic_images(50, 12, 10, 3, 7, 2).pixels);
  CHECK(crc(first.pixels) == 694725355U);
  CHECK(crc({first.labels.begin(), first.labels.end()}) == 3879231199U);
  const ImageData longer = flyball::synthetic_images(80, 12, 10, 3, 7, 1);
  CHECK(std::equal(first.pixels.begin(), first.pixels.end(), longer.pixels.begin()));
  CHECK(std::equal(first.labels.begin(), first.labels.end(), longer.labels.begin()));
}

TEST_CASE("synthetic: labels are balanced in every run of as many images as classes") {
  const ImageData data = flyball::synthetic_images(70, 1, 1, 1, 7, 3);
  bool runs_differ = false;
  for (size_t run = 0; run < 10; ++run) {
    std::vector<int32_t> labels(data.labels.begin() + static_cast<std::ptrdiff_t>(7 * run),
                                data.labels.begin() + static_cast<std::ptrdiff_t>(7 * run + 7));
    runs_differ = runs_differ || !std::equal(labels.begin(), labels.end(), data.labels.begin());
    std::sort(labels.begin(), labels.end());
    for (int32_t k = 0; k < 7; ++k) CHECK(labels[static_cast<size_t>(k)] == k);
  }
  CHECK(runs_differ);
}

TEST_CASE("synthetic: class means learned from one part tell the classes of another apart") {
  const int64_t train = 1000;
  const int64_t test = 500;
  const int64_t classes = 10;
  const ImageData data = flyball::synthetic_images(train + test, 16, 16, 1, classes, 5);
  const int64_t size = data.h * data.w * data.c;
  std::vector<double> means(static_cast<size_t>(classes * size));
  for (int64_t i = 0; i < train; ++i) {
    for (int64_t j = 0; j < size; ++j) {
      means[data.labels[i] * size + j] +=
          data.pixels[i * size + j] * static_cast<double>(classes) / static_cast<double>(train);
    }
  }
  int64_t correct = 0;
  for (int64_t i = train; i < train + test; ++i) {
    std::vector<double> distances(static_cast<size_t>(classes));
    for (int64_t k = 0; k < classes; ++k) {
      for (int64_t j = 0; j < size; ++j) {
        const double difference = data.pixels[i * size + j] - means[k * size + j];
        distances[k] += difference * difference;
      }
    }
    const auto nearest = std::min_element(distances.begin(), distances.end()) - distances.begin();
    correct += nearest == data.labels[i] ? 1 : 0;
  }
  const double accuracy = static_cast<double>(correct) / static_cast<double>(test);
  CAPTURE(accuracy);
  CHECK(accuracy > 0.7);   // chance is 0.1
  CHECK(accuracy < 0.95);  // something is left for a better model
}

TEST_CASE("synthetic: sizes that make no images are refused") {
  const auto check_refused = [](int64_t count, int64_t h, int64_t classes, const char* message) {
    CHECK_THROWS_WITH_AS(flyball::synthetic_images(count, h, 4, 1, classes, 0), message,
                         flyball::Error);
  };
  check_refused(0, 4, 2, "synthetic_images: count is 0, expected 1..2147483647");
  check_refused(1, -1, 2, "synthetic_images: h is -1, expected 1..2147483647");
  check_refused(1, 4, 1, "synthetic_images: classes is 1, expected 2..2147483647");
  check_refused(int64_t{1} << 30, 1 << 20, 2,
                "synthetic_images: sizes need 4.5036e+15 bytes, expected at most 1e+11");
}
