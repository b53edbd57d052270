#include "kernels/softmax_cross_entropy.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/cpu/lanes.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd.h"

namespace flyball::cpu {
namespace {

constexpr int64_t kBlock = 512;  // columns worked on at a time

// e^x for x <= 0, to 2 units in the last place; 0 below the smallest normal float.
// x = n ln 2 + r with |r| <= ln 2 / 2; e^r by its Taylor series. Adding 1.5 * 2^23 rounds to an
// integer.
FLYBALL_INLINE float exp_not_positive(float x) {
  constexpr float kRound = 12582912.0F;
  const float shifted = x * 1.44269504F + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693145752F) - n * 1.42860677e-6F;
  float series = 1.0F / 5040;
  series = series * r + 1.0F / 720;
  series = series * r + 1.0F / 120;
  series = series * r + 1.0F / 24;
  series = series * r + 1.0F / 6;
  series = series * r + 0.5F;
  series = series * r + 1.0F;
  series = series * r + 1.0F;
  const uint32_t exponent = std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(kRound);
  const float power = std::bit_cast<float>((exponent + 127U) << 23);
  return x < -87.3F ? 0.0F : series * power;
}

FLYBALL_INLINE double exp_not_positive(double x) { return std::exp(x); }

template <class T>
FLYBALL_INLINE T larger(T a, T b) {
  return a > b ? a : b;
}

template <class T>
FLYBALL_INLINE T largest(const T* x, int64_t count) {
  T largest = -std::numeric_limits<T>::infinity();
  int64_t begin = 0;
  if (count >= kLaneBlock) {
    T lanes[kLanes];
    std::fill(lanes, lanes + kLanes, largest);
    for (; begin + kLaneBlock <= count; begin += kLaneBlock) {
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        T top = lanes[lane];
#pragma GCC unroll 16
        for (int64_t i = 0; i < kLaneBlock; i += kLanes) top = larger(x[begin + i + lane], top);
        lanes[lane] = top;
      }
    }
    for (const T top : lanes) largest = larger(top, largest);
  }
  for (int64_t i = begin; i < count; ++i) largest = larger(x[i], largest);
  return largest;
}

// One row; returns its loss. NaN and infinite logits end as a NaN loss.
template <class T>
FLYBALL_INLINE double row_loss(const SoftmaxCrossEntropy<T>& a, int64_t row, uint8_t& correct) {
  const T* x = a.logits + row * a.classes;
  T* dx = a.dlogits == nullptr ? nullptr : a.dlogits + row * a.classes;
  const int64_t label = a.labels[row];
  const bool known = label >= 0 && label < a.classes;
  const T top = largest(x, a.classes);
  correct = known && x[label] == top && std::find(x, x + label, top) == x + label ? 1 : 0;
  const double label_logit =
      known ? static_cast<double>(x[label] - top) : std::numeric_limits<double>::quiet_NaN();

  double exp_sum = 0;
  double logit_sum = 0;
  for (int64_t begin = 0; begin < a.classes; begin += kBlock) {
    const int64_t count = std::min(kBlock, a.classes - begin);
    alignas(64) T block[kBlock];
    for (int64_t i = 0; i < count; ++i) block[i] = x[begin + i] - top;
    if (a.label_smoothing != 0) logit_sum += sum_in_lanes(block, count);
    const int64_t rounded = (count + kLanes - 1) / kLanes * kLanes;
    for (int64_t i = count; i < rounded; ++i) block[i] = -std::numeric_limits<T>::infinity();
    for (int64_t i = 0; i < rounded; ++i) block[i] = exp_not_positive(block[i]);
    exp_sum += sum_in_lanes(block, rounded);
    if (dx != nullptr) std::copy(block, block + count, dx + begin);
  }

  const double smoothing_share = a.label_smoothing / static_cast<double>(a.classes);
  if (dx != nullptr) {
    const double rows = static_cast<double>(a.rows);
    const T scale = static_cast<T>(1 / (exp_sum * rows));
    const T offset = static_cast<T>(smoothing_share / rows);
    for (int64_t i = 0; i < a.classes; ++i) dx[i] = dx[i] * scale - offset;
    if (known) dx[label] -= static_cast<T>((1 - a.label_smoothing) / rows);
  }
  return std::log(exp_sum) - (1 - a.label_smoothing) * label_logit - smoothing_share * logit_sum;
}

template <class T>
FLYBALL_INLINE void rows_loss(const SoftmaxCrossEntropy<T>& a, int64_t begin, int64_t end,
                              double* losses, uint8_t* correct) {
  for (int64_t row = begin; row < end; ++row) losses[row] = row_loss(a, row, correct[row]);
}

FLYBALL_SIMD void run_rows(const SoftmaxCrossEntropy<float>& a, int64_t begin, int64_t end,
                           double* losses, uint8_t* correct) {
  rows_loss(a, begin, end, losses, correct);
}
void run_rows(const SoftmaxCrossEntropy<double>& a, int64_t begin, int64_t end, double* losses,
              uint8_t* correct) {
  rows_loss(a, begin, end, losses, correct);
}

}  // namespace

template <class T>
void softmax_cross_entropy(const SoftmaxCrossEntropy<T>& a) {
  struct RowResults;
  double* losses = scratch<RowResults, double>(a.rows);
  auto* correct = scratch<RowResults, uint8_t>(a.rows);
  const int64_t piece_rows = std::max<int64_t>(1, kPieceElements / std::max<int64_t>(a.classes, 1));
  parallel_for((a.rows + piece_rows - 1) / piece_rows, [&](int64_t piece) {
    const int64_t begin = piece * piece_rows;
    run_rows(a, begin, std::min(begin + piece_rows, a.rows), losses, correct);
  });
  double loss = 0;
  int32_t correct_count = 0;
  for (int64_t row = 0; row < a.rows; ++row) {
    loss += losses[row];
    correct_count += correct[row];
  }
  *a.loss = static_cast<T>(loss / static_cast<double>(a.rows));
  *a.correct = correct_count;
}

template void softmax_cross_entropy(const SoftmaxCrossEntropy<float>&);
template void softmax_cross_entropy(const SoftmaxCrossEntropy<double>&);

}  // namespace flyball::cpu
