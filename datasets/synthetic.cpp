#include "datasets/synthetic.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/error.h"
#include "kernels/permutation.h"
#include "kernels/philox.h"

namespace flyball {
namespace {

constexpr int64_t kGrid = 4;  // random values a side of a pattern
constexpr double kMostBytes = 1e11;
enum RandomStream : uint32_t {
  kPatternStream = 0x53594E00U,
  kLabelStream,
  kImageStream,
  kNoiseStream
};

// patterns[((class * h + y) * w + x) * c + channel]
std::vector<int16_t> make_patterns(int64_t classes, int64_t h, int64_t w, int64_t c,
                                   uint64_t seed) {
  std::vector<int16_t> patterns(static_cast<size_t>(classes * h * w * c));
  int64_t grid[kGrid][kGrid];
  for (int64_t k = 0; k < classes; ++k) {
    for (int64_t channel = 0; channel < c; ++channel) {
      for (int64_t cell = 0; cell < kGrid * kGrid; ++cell) {
        const auto index = static_cast<uint64_t>((k * c + channel) * kGrid * kGrid + cell);
        const uint32_t word = philox_at(index, 0, kPatternStream, seed).word[0];
        grid[cell / kGrid][cell % kGrid] = int64_t{word & 255U} - 128;
      }
      for (int64_t y = 0; y < h; ++y) {
        for (int64_t x = 0; x < w; ++x) {
          // Position on the grid in 1/256 of a cell.
          const int64_t v = y * kGrid * 256 / h;
          const int64_t u = x * kGrid * 256 / w;
          const int64_t top = v / 256;
          const int64_t left = u / 256;
          const int64_t* upper = grid[top];
          const int64_t* lower = grid[(top + 1) % kGrid];
          const int64_t right = (left + 1) % kGrid;
          const int64_t above = upper[left] * (256 - u % 256) + upper[right] * (u % 256);
          const int64_t below = lower[left] * (256 - u % 256) + lower[right] * (u % 256);
          const int64_t value = (above * (256 - v % 256) + below * (v % 256)) / (256 * 256);
          patterns[((k * h + y) * w + x) * c + channel] = static_cast<int16_t>(value);
        }
      }
    }
  }
  return patterns;
}

// Uniform in [-limit, limit].
int64_t shift_from(uint32_t word, int64_t limit) { return int64_t{word} % (2 * limit + 1) - limit; }

// Sum of four uniform bytes, centred: deviation 148, scaled to 40.
int64_t noise_from(uint32_t word) {
  const int64_t sum = (word & 255U) + (word >> 8 & 255U) + (word >> 16 & 255U) + (word >> 24);
  return (sum - 510) * 69 / 256;
}

}  // namespace

ImageData synthetic_images(int64_t count, int64_t h, int64_t w, int64_t c, int64_t classes,
                           uint64_t seed) {
  const auto check = [](const char* field, int64_t value, int64_t least) {
    constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
    if (value < least || value > kMost) {
      throw Error(
          str("synthetic_images: ", field, " is ", value, ", expected ", least, "..", kMost));
    }
  };
  check("count", count, 1);
  check("h", h, 1);
  check("w", w, 1);
  check("c", c, 1);
  check("classes", classes, 2);
  double bytes = 1;  // as double, the product cannot overflow
  for (const int64_t factor : {std::max(count, 2 * classes), h, w, c}) {
    bytes *= static_cast<double>(factor);
  }
  if (bytes > kMostBytes) {
    throw Error(
        str("synthetic_images: sizes need ", bytes, " bytes, expected at most ", kMostBytes));
  }

  ImageData data;
  data.name = "synthetic";
  data.count = count;
  data.h = h;
  data.w = w;
  data.c = c;
  data.classes = classes;
  const int64_t size = h * w * c;
  data.pixels.resize(static_cast<size_t>(count * size));
  data.labels.resize(static_cast<size_t>(count));
  data.mean.assign(static_cast<size_t>(c), 0.5F);
  data.deviation.assign(static_cast<size_t>(c), 0.22F);

  const std::vector<int16_t> patterns = make_patterns(classes, h, w, c, seed);
  for (int64_t i = 0; i < count; ++i) {
    const auto run = static_cast<uint32_t>(i / classes);
    const int64_t label = permuted(i % classes, classes, seed, run, kLabelStream);
    const PhiloxWords random = philox_at(static_cast<uint64_t>(i), 0, kImageStream, seed);
    const int64_t other = (label + 1 + random.word[0] % (classes - 1)) % classes;
    const int64_t dy = shift_from(random.word[1], h / 8) + h;  // + h: keeps y + dy positive
    const int64_t dx = shift_from(random.word[2], w / 8) + w;
    const int64_t a = 96 + int64_t{random.word[3] & 0xFFFFU} % 160;
    const int64_t b = (random.word[3] >> 16) % 128;

    const int16_t* own = patterns.data() + label * size;
    const int16_t* blended = patterns.data() + other * size;
    uint8_t* pixel = data.pixels.data() + i * size;
    PhiloxWords noise{};
    for (int64_t j = 0; j < size; ++j) {
      if (j % 4 == 0) {
        noise =
            philox_at(static_cast<uint64_t>(i * ((size + 3) / 4) + j / 4), 0, kNoiseStream, seed);
      }
      const int64_t y = (j / (w * c) + dy) % h;
      const int64_t x = (j / c % w + dx) % w;
      const int64_t from = (y * w + x) * c + j % c;
      const int64_t value =
          128 + (a * own[from] + b * blended[from]) / 256 + noise_from(noise.word[j % 4]);
      pixel[j] = static_cast<uint8_t>(std::clamp<int64_t>(value, 0, 255));
    }
    data.labels[static_cast<size_t>(i)] = static_cast<int32_t>(label);
  }
  return data;
}

}  // namespace flyball
