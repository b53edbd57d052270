#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/softmax_cross_entropy.h"

// The formulas of kernels/softmax_cross_entropy.h, with the target distribution written out.
namespace flyball::reference {

inline void softmax_cross_entropy(const SoftmaxCrossEntropy<double>& a) {
  double loss = 0;
  int32_t correct = 0;
  for (int64_t row = 0; row < a.rows; ++row) {
    const std::vector<double> x(a.logits + row * a.classes, a.logits + (row + 1) * a.classes);
    const int64_t label = a.labels[row];
    if (label < 0 || label >= a.classes) loss = std::numeric_limits<double>::quiet_NaN();
    size_t best = 0;
    for (size_t j = 1; j < x.size(); ++j) {
      if (x[j] > x[best]) best = j;
    }
    if (static_cast<int64_t>(best) == label) ++correct;
    double exp_sum = 0;
    for (const double logit : x) exp_sum += std::exp(logit - x[best]);
    for (size_t j = 0; j < x.size(); ++j) {
      const double log_softmax = x[j] - x[best] - std::log(exp_sum);
      const double target = (static_cast<int64_t>(j) == label ? 1 - a.label_smoothing : 0) +
                            a.label_smoothing / static_cast<double>(a.classes);
      if (target != 0) loss -= target * log_softmax;
      if (a.dlogits != nullptr) {
        a.dlogits[row * a.classes + static_cast<int64_t>(j)] =
            (std::exp(log_softmax) - target) / static_cast<double>(a.rows);
      }
    }
  }
  *a.loss = loss / static_cast<double>(a.rows);
  *a.correct = correct;
}

}  // namespace flyball::reference
