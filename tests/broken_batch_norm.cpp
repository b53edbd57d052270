#include <algorithm>
#include <cmath>

#include "kernels/batch_norm.h"
#include "tests/broken_kernels.h"

namespace flyball::testing {
namespace {

constexpr int64_t kRows = 65, kC = 33;

// The statistics of a column as E[x^2] - E[x]^2, in T.
template <class T>
T var_from_squares(const T* x, int64_t rows, int64_t c) {
  T sum = 0, squares = 0;
  for (int64_t i = 0; i < rows; ++i) {
    sum += x[i * c];
    squares += x[i * c] * x[i * c];
  }
  const T count = static_cast<T>(rows);
  return std::max(squares / count - sum / count * (sum / count), T{0});
}

void add_forward(std::vector<BrokenKernel>& all) {
  all.push_back({"forgets the ReLU",
                 run_as("batch_norm forward 65x33 relu", "batch_norm forward 65x33"), "result: y"});
  all.push_back({"forgets the residual",
                 run_with("batch_norm forward 65x33 residual", "residual",
                          [](auto zero, const Operands& o) {
                            std::fill_n(o.get<decltype(zero)>("residual"), kRows * kC,
                                        decltype(zero){0});
                          }),
                 "result: y"});
  all.push_back({"adds the residual after the ReLU",
                 run_then("batch_norm forward 65x33 relu residual",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            for (int64_t i = 0; i < kRows * kC; ++i) {
                              const T residual = o.get<T>("residual")[i];
                              const T sum = o.get<T>("y")[i];
                              if (sum == 0) o.get<T>("y")[i] = std::max(residual, T{0});
                            }
                          }),
                 "result: y"});
  all.push_back({"takes the biased variance for the running one",
                 run_then("batch_norm forward 65x33",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            for (int64_t j = 0; j < kC; ++j) {
                              const T inv_std = o.get<T>("inv_std")[j];
                              const T var = T{1} / (inv_std * inv_std);
                              o.get<T>("running_var")[j] -= T(0.1) * var / T(kRows - 1);
                            }
                          }),
                 "result: running_var"});
  all.push_back({"keeps a tenth of the running mean",
                 run_with("batch_norm forward 65x33", "x",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            for (int64_t j = 0; j < kC; ++j) o.get<T>("running_mean")[j] *= T(0.1);
                          }),
                 "result: running_mean"});
  all.push_back(
      {"leaves the running statistics alone",
       run_as("batch_norm forward 65x33", "batch_norm forward 65x33 no running statistics"),
       "result: running_mean"});
  all.push_back({"takes the last tile of column sums for a whole one",
                 run_with("batch_norm forward 65x33 column sums", "column_sums",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            for (int64_t j = 0; j < kC; ++j) {
                              o.get<T>("column_sums")[2 * kC + j] /= T(kColumnSumRows);
                            }
                          }),
                 "result: y"});
  all.push_back(
      {"reads x where it has column sums",
       run_instead("batch_norm forward 65x33 column sums",
                   [kernel = find_case("batch_norm forward 65x33")](auto zero, const Operands& o) {
                     using T = decltype(zero);
                     cpu::batch_norm_forward(
                         BatchNormForward<T>{.x = o.get<T>("x"),
                                             .gamma = o.get<T>("gamma"),
                                             .beta = o.get<T>("beta"),
                                             .y = o.get<T>("y"),
                                             .mean = o.get<T>("mean"),
                                             .inv_std = o.get<T>("inv_std"),
                                             .running_mean = o.get<T>("running_mean"),
                                             .running_var = o.get<T>("running_var"),
                                             .rows = kRows,
                                             .c = kC});
                   }),
       "result: y"});
  all.push_back({"subtracts the square of a large mean",
                 run_then("batch_norm forward 1000x33 relu mean 10000",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            if (sizeof(T) == sizeof(double)) {  // enough digits: another fault
                              o.get<T>("inv_std")[0] *= T(1.001);
                              return;
                            }
                            for (int64_t j = 0; j < kC; ++j) {
                              const T var = var_from_squares(o.get<T>("x") + j, 1000, kC);
                              o.get<T>("inv_std")[j] = T{1} / std::sqrt(var + T(1e-5));
                            }
                          }),
                 "result: inv_std"});
  all.push_back({"normalises with the batch in evaluation",
                 run_instead("batch_norm evaluation 65x33",
                             [](auto zero, const Operands& o) {
                               using T = decltype(zero);
                               T mean[kC], inv_std[kC];
                               cpu::batch_norm_forward(
                                   BatchNormForward<T>{.x = o.get<T>("x"),
                                                       .gamma = o.get<T>("gamma"),
                                                       .beta = o.get<T>("beta"),
                                                       .y = o.get<T>("y"),
                                                       .mean = mean,
                                                       .inv_std = inv_std,
                                                       .rows = kRows,
                                                       .c = kC});
                             }),
                 "result: y"});
}

void add_backward(std::vector<BrokenKernel>& all) {
  const char* plain = "batch_norm backward 65x33";
  all.push_back({"ignores the mask of the ReLU",
                 run_with("batch_norm backward 65x33 relu residual", "y",
                          [](auto zero, const Operands& o) {
                            std::fill_n(o.get<decltype(zero)>("y"), kRows * kC, decltype(zero){1});
                          }),
                 "result: d"});
  all.push_back({"lets dy through where y is 0",
                 run_then("batch_norm backward 65x33 relu residual",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            for (int64_t i = 0; i < kRows * kC; ++i) {
                              if (o.get<T>("y")[i] == 0) {
                                o.get<T>("dresidual")[i] = o.get<T>("dy")[i];
                              }
                            }
                          }),
                 "result: dresidual"});
  all.push_back({"overwrites instead of accumulating",
                 run_as("batch_norm backward 65x33 residual accumulate",
                        "batch_norm backward 65x33 residual"),
                 "result: d"});
  all.push_back({"accumulates onto garbage", run_as(plain, "batch_norm backward 65x33 accumulate"),
                 "result: d"});
  all.push_back({"takes mean and deviation for constants",
                 run_then(plain,
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            for (int64_t i = 0; i < kRows * kC; ++i) {
                              const int64_t j = i % kC;
                              o.get<T>("dx")[i] =
                                  o.get<T>("gamma")[j] * o.get<T>("inv_std")[j] * o.get<T>("dy")[i];
                            }
                          }),
                 "result: dx"});
  all.push_back({"forgets inv_std in dgamma",
                 run_then(plain,
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            for (int64_t j = 0; j < kC; ++j) {
                              o.get<T>("dgamma")[j] /= o.get<T>("inv_std")[j];
                            }
                          }),
                 "result: dgamma"});
  all.push_back({"leaves the last row out of the sums",
                 run_then(plain,
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            for (int64_t j = 0; j < kC; ++j) {
                              o.get<T>("dbeta")[j] -= o.get<T>("dy")[(kRows - 1) * kC + j];
                            }
                          }),
                 "result: dbeta"});
}

}  // namespace

void add_broken_batch_norm(std::vector<BrokenKernel>& all) {
  add_forward(all);
  add_backward(all);
}

}  // namespace flyball::testing
