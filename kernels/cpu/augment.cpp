#include "kernels/augment.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "kernels/cpu/pieces.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd.h"
#include "kernels/philox.h"

namespace flyball::cpu {
namespace {

// y = (pixel - center) * scale, with center = 255 * mean and scale = 1 / (255 * deviation),
// repeated over `period` elements (a multiple of c), so that the loop over an image need not know
// its channels.
struct Normalization {
  std::vector<float> center, scale;
  int64_t period = 0;
};

Normalization normalization(const Augment& a) {
  constexpr int64_t kPixels = 64;
  Normalization result;
  result.period = kPixels * a.c;
  for (int64_t i = 0; i < result.period; ++i) {
    result.center.push_back(255 * a.mean[i % a.c]);
    result.scale.push_back(
        static_cast<float>(1 / (255 * static_cast<double>(a.deviation[i % a.c]))));
  }
  return result;
}

template <class Pixel>
FLYBALL_INLINE void normalize_pixels(const Pixel* pixels, float* y, int64_t count,
                                     const Normalization& normalization) {
  const float* center = normalization.center.data();
  const float* scale = normalization.scale.data();
  for (int64_t begin = 0; begin < count; begin += normalization.period) {
    const int64_t length = std::min(normalization.period, count - begin);
#pragma GCC ivdep
    for (int64_t i = 0; i < length; ++i) {
      y[begin + i] = (static_cast<float>(pixels[begin + i]) - center[i]) * scale[i];
    }
  }
}

FLYBALL_SIMD void normalize(const uint8_t* pixels, float* y, int64_t count,
                            const Normalization& normalization) {
  normalize_pixels(pixels, y, count, normalization);
}
FLYBALL_SIMD void normalize(const float* pixels, float* y, int64_t count,
                            const Normalization& normalization) {
  normalize_pixels(pixels, y, count, normalization);
}

struct Offset {
  int64_t down = 0, right = 0;
};

struct Turn {
  float sine = 0, cosine = 1;
  Offset offset;
};

// y = a part of the image turned about its centre, not normalised. `padded`: the image with one row
// and column of zeros before it and two after it, [h + 3, w + 3, c]: positions are clamped to [-1,
// h] x
// [-1, w], where all four taps exist.
FLYBALL_SIMD void turn_image(const Augment& a, const float* padded, const Turn& turn, float* y) {
  const float center_row = 0.5F * static_cast<float>(a.h - 1);
  const float center_column = 0.5F * static_cast<float>(a.w - 1);
  const float last_row = static_cast<float>(a.h);
  const float last_column = static_cast<float>(a.w);
  const int32_t channels = static_cast<int32_t>(a.c);
  const int32_t columns = static_cast<int32_t>(a.w);
  const int32_t stride = (columns + 3) * channels;
  const auto first_column = static_cast<int32_t>(turn.offset.right);
  for (int64_t row = 0; row < a.h; ++row) {
    const float from_row = static_cast<float>(row + turn.offset.down) - center_row;
    for (int32_t channel = 0; channel < channels; ++channel) {
      const float* tap = padded + channel;
      float* out = y + row * a.w * a.c + channel;
#pragma GCC ivdep
      for (int32_t column = 0; column < columns; ++column) {
        const float from_column = static_cast<float>(column + first_column) - center_column;
        float r = center_row + (turn.cosine * from_row - turn.sine * from_column);
        float s = center_column + (turn.sine * from_row + turn.cosine * from_column);
        r = r < -1 ? -1 : r;
        r = r > last_row ? last_row : r;
        s = s < -1 ? -1 : s;
        s = s > last_column ? last_column : s;
        const int32_t whole_row =
            static_cast<int32_t>(r + 1);  // one more than the floor: the padding
        const int32_t whole_column = static_cast<int32_t>(s + 1);
        const float down = r + 1 - static_cast<float>(whole_row);
        const float right = s + 1 - static_cast<float>(whole_column);
        const int32_t at = whole_row * stride + whole_column * channels;
        const float upper = tap[at] + right * (tap[at + channels] - tap[at]);
        const float lower =
            tap[at + stride] + right * (tap[at + stride + channels] - tap[at + stride]);
        out[column * channels] = upper + down * (lower - upper);
      }
    }
  }
}

struct PaddedImage {};
struct ChangedImage {};

// to = the image, mirrored or not, from its pixel (down, right) on; what is outside stays as it is.
// `row_stride` elements from row to row.
template <class To>
void place(const Augment& a, const uint8_t* image, bool mirror, const Offset& offset, To* to,
           int64_t row_stride) {
  const int64_t first_row = std::max<int64_t>(0, -offset.down);
  const int64_t last_row = std::min(a.h, a.h - offset.down);
  const int64_t first = std::max<int64_t>(0, -offset.right);
  const int64_t last = std::min(a.w, a.w - offset.right);
  for (int64_t row = first_row; row < last_row; ++row) {
    const uint8_t* from = image + (row + offset.down) * a.w * a.c;
    To* changed = to + row * row_stride;
    if (!mirror && first < last) {
      std::copy(from + (first + offset.right) * a.c, from + (last + offset.right) * a.c,
                changed + first * a.c);
      continue;
    }
    if (a.c == 1 && first < last) {
      const uint8_t* end = from + a.w - offset.right;
      std::reverse_copy(end - last, end - first, changed + first);
      continue;
    }
    for (int64_t column = first; column < last; ++column) {
      const uint8_t* pixel = from + (a.w - 1 - column - offset.right) * a.c;
      for (int64_t channel = 0; channel < a.c; ++channel) {
        changed[column * a.c + channel] = static_cast<To>(pixel[channel]);
      }
    }
  }
}

void augment_image(const Augment& a, int64_t i, const Normalization& normalization) {
  const int64_t index = a.indices[i];
  const int64_t elements = a.h * a.w * a.c;
  const uint8_t* image = a.images + index * elements;
  float* y = a.y + i * elements;
  a.y_labels[i] = a.labels[index];
  const PhiloxWords words =
      philox_at(static_cast<uint64_t>(index), *a.epoch, kAugmentStream, a.seed);
  const bool mirror = static_cast<double>(uniform_float(words.word[0])) < a.flip_probability;
  const Offset offset = {crop_offset(words.word[2], a.crop_padding),
                         crop_offset(words.word[3], a.crop_padding)};
  if (a.rotation_degrees != 0) {
    const double degrees =
        (2 * static_cast<double>(uniform_float(words.word[1])) - 1) * a.rotation_degrees;
    const double angle = degrees * (std::numbers::pi / 180);
    const Turn turn = {static_cast<float>(std::sin(angle)), static_cast<float>(std::cos(angle)),
                       offset};
    const int64_t row_stride = (a.w + 3) * a.c;
    float* padded = scratch<PaddedImage, float>((a.h + 3) * row_stride);
    std::fill(padded, padded + (a.h + 3) * row_stride, 0.0F);
    place(a, image, mirror, {}, padded + row_stride + a.c, row_stride);
    turn_image(a, padded, turn, y);
    normalize(y, y, elements, normalization);
  } else if (mirror || offset.down != 0 || offset.right != 0) {
    uint8_t* changed = scratch<ChangedImage, uint8_t>(elements);
    std::fill(changed, changed + elements, uint8_t{0});
    place(a, image, mirror, offset, changed, a.w * a.c);
    normalize(changed, y, elements, normalization);
  } else {
    normalize(image, y, elements, normalization);
  }
}

}  // namespace

void augment(const Augment& a) {
  const Normalization channels = normalization(a);
  const int64_t piece_images =
      std::max<int64_t>(1, kPieceElements / std::max<int64_t>(a.h * a.w * a.c, 1));
  parallel_for((a.n + piece_images - 1) / piece_images, [&](int64_t piece) {
    const int64_t end = std::min((piece + 1) * piece_images, a.n);
    for (int64_t i = piece * piece_images; i < end; ++i) augment_image(a, i, channels);
  });
}

}  // namespace flyball::cpu
