#pragma once

#include <cstdint>

#include "framework/image_data.h"

namespace flyball {

// Labelled images made from counters, for tests and demonstrations without a data set.
//   pixel = clamp(128 + (a p_label(y + dy, x + dx) + b p_other(y + dy, x + dx)) / 256 + noise)
// p_k, class k's pattern: 4 x 4 random values in [-128, 127] a channel, periodic, interpolated
// bilinearly. An image's contrast a in [96, 255], the strength b in [0, 127] of another class's
// pattern, and its periodic shift |dy| <= h / 8, |dx| <= w / 8 are random; noise has deviation 40.
// Images are [count, h, w, c]. Integer arithmetic only: a seed gives the same bytes on every
// machine. Image i depends on seed, sizes and i alone, so a longer set begins with the shorter one:
// for a held-out set with the same patterns, make one set and split it. Every run of `classes`
// images from a multiple of `classes` holds each label once. Throws Error: a size below 1, classes
// below 2, more than 1e11 bytes.
ImageData synthetic_images(int64_t count, int64_t h, int64_t w, int64_t c, int64_t classes,
                           uint64_t seed);

}  // namespace flyball
