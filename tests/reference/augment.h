#pragma once

#include <cmath>

#include "kernels/augment.h"
#include "kernels/philox.h"

// The formula of kernels/augment.h, one value at a time in double; only the result is rounded.
namespace flyball::reference {

namespace detail {
// A pixel of the mirrored or plain image; 0 outside.
inline double pixel(const Augment& a, const uint8_t* image, bool mirror, int64_t row,
                    int64_t column, int64_t channel) {
  if (row < 0 || row >= a.h || column < 0 || column >= a.w) return 0;
  const int64_t source = mirror ? a.w - 1 - column : column;
  return static_cast<double>(image[(row * a.w + source) * a.c + channel]);
}
}  // namespace detail

inline void augment(const Augment& a) {
  for (int64_t i = 0; i < a.n; ++i) {
    const int64_t index = a.indices[i];
    const uint8_t* image = a.images + index * a.h * a.w * a.c;
    const PhiloxWords words =
        philox_at(static_cast<uint64_t>(index), *a.epoch, kAugmentStream, a.seed);
    const bool mirror = static_cast<double>(uniform_float(words.word[0])) < a.flip_probability;
    const double turn = 2 * static_cast<double>(uniform_float(words.word[1])) - 1;
    const double angle = turn * a.rotation_degrees * std::acos(-1.0) / 180;
    const double center_row = static_cast<double>(a.h - 1) / 2;
    const double center_column = static_cast<double>(a.w - 1) / 2;
    const auto places = static_cast<double>(2 * a.crop_padding + 1);
    const auto offset = [&](uint32_t word) {
      return static_cast<int64_t>(std::floor(word * 0x1p-32 * places)) - a.crop_padding;
    };
    const int64_t first_row = offset(words.word[2]), first_column = offset(words.word[3]);
    a.y_labels[i] = a.labels[index];
    for (int64_t row = 0; row < a.h; ++row) {
      for (int64_t column = 0; column < a.w; ++column) {
        const double down = static_cast<double>(row + first_row) - center_row;
        const double right = static_cast<double>(column + first_column) - center_column;
        const double r = center_row + std::cos(angle) * down - std::sin(angle) * right;
        const double s = center_column + std::sin(angle) * down + std::cos(angle) * right;
        const auto r0 = static_cast<int64_t>(std::floor(r));
        const auto s0 = static_cast<int64_t>(std::floor(s));
        const double rest_r = r - std::floor(r);
        const double rest_s = s - std::floor(s);
        for (int64_t channel = 0; channel < a.c; ++channel) {
          const auto at = [&](int64_t y, int64_t x) {
            return detail::pixel(a, image, mirror, y, x, channel);
          };
          const double value =
              (1 - rest_r) * ((1 - rest_s) * at(r0, s0) + rest_s * at(r0, s0 + 1)) +
              rest_r * ((1 - rest_s) * at(r0 + 1, s0) + rest_s * at(r0 + 1, s0 + 1));
          const double mean = static_cast<double>(a.mean[channel]);
          const double deviation = static_cast<double>(a.deviation[channel]);
          a.y[((i * a.h + row) * a.w + column) * a.c + channel] =
              static_cast<float>((value / 255 - mean) / deviation);
        }
      }
    }
  }
}

}  // namespace flyball::reference
