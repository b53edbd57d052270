#pragma once

#include <cstdint>

#include "datasets/text_samples.h"

namespace flyball {

// Invented film reviews from a small grammar, negative (0) or positive (1), for tests and for
// programs that have no data set. A review has one to three opinions and two to five sentences that
// say nothing about its label. An opinion
//   states      "The plot was really moving."                            (3 of 5)
//   negates     "I can't call the plot moving at all."                   (1 of 4), or
//   contrasts   "Although the cast was dull, the plot was moving."       (the rest: the end counts)
// and negations stand in the other sentences, too, so that single words do not tell the label: it
// takes their order. Every two reviews from an even position hold each label once. Review i depends
// on seed and i alone. Throws Error where count is below 1.
TextSamples synthetic_text(int64_t count, uint64_t seed);

}  // namespace flyball
