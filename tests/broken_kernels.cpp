#include "tests/broken_kernels.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "tests/reference/conv2d.h"
#include "tests/reference/pool2d.h"

namespace flyball::testing {
namespace {

using Broken = std::vector<BrokenKernel>;

template <class T>
void scale_all(T* values, int64_t count, T factor) {
  for (int64_t i = 0; i < count; ++i) values[i] *= factor;
}

OpCase without_bias(const std::string& title, int64_t count) {
  return run_with(title, "bias", [count](auto zero, const Operands& o) {
    std::fill_n(o.get<decltype(zero)>("bias"), count, decltype(zero){0});
  });
}

void add_gemm(Broken& all) {
  all.push_back(
      {"ignores transpose_a", run_as("gemm tn 33x33x33", "gemm nn 33x33x33"), "result: c"});
  all.push_back(
      {"ignores transpose_b", run_as("gemm nt 33x33x33", "gemm nn 33x33x33"), "result: c"});
  all.push_back({"transposes both", run_as("gemm tn 33x33x33", "gemm nt 33x33x33"), "result: c"});
  all.push_back({"overwrites instead of accumulating",
                 run_as("gemm nn 33x33x33 accumulate", "gemm nn 33x33x33"), "result: c"});
  all.push_back({"accumulates onto garbage",
                 run_as("gemm nn 33x33x33", "gemm nn 33x33x33 accumulate"), "result: c"});
  all.push_back({"forgets the bias", without_bias("gemm nt 33x33x33 bias", 33), "result: c"});
  all.push_back({"forgets the ReLU", run_as("gemm nt 33x33x33 bias relu", "gemm nt 33x33x33 bias"),
                 "result: c"});
  all.push_back({"leaves out the last of 1025 products",
                 run_then("gemm nn 16x17x1025",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            const T* a = o.get<T>("a");
                            const T* b = o.get<T>("b");
                            for (int64_t i = 0; i < 16; ++i) {
                              for (int64_t j = 0; j < 17; ++j) {
                                o.get<T>("c")[i * 17 + j] -= a[i * 1025 + 1024] * b[1024 * 17 + j];
                              }
                            }
                          }),
                 "result: c"});
}

constexpr Conv2dShape kPadded{2, 5, 5, 3, 4, 3, 3, 1, 1};
constexpr const char* kPaddedForward = "conv2d forward 2x5x5x3 -> 4, 3x3 padding 1";

// The convolution with the index of each product changed by `change(x, w)`.
template <class T, class Change>
void convolve(const Conv2dShape& d, const Operands& o, Change change) {
  T* y = o.get<T>("y");
  std::fill_n(y, d.n * d.p() * d.q() * d.k, T{0});
  reference::for_each_conv2d_product(d, [&](int64_t x, int64_t w, int64_t at) {
    const auto [x_changed, w_changed] = change(x, w);
    y[at] += o.get<T>("x")[x_changed] * o.get<T>("filters")[w_changed];
  });
}

void add_conv2d(Broken& all) {
  all.push_back({"turns the filters by 180 degrees",
                 run_instead(kPaddedForward,
                             [](auto zero, const Operands& o) {
                               convolve<decltype(zero)>(kPadded, o, [](int64_t x, int64_t w) {
                                 const int64_t place = w / 3 % 9;
                                 return std::pair{x, w + (8 - 2 * place) * 3};
                               });
                             }),
                 "result: y"});
  all.push_back({"ignores the padding",
                 run_instead(kPaddedForward,
                             [](auto zero, const Operands& o) {
                               // Every window starts one further down and right, up to the end.
                               const int64_t count = kPadded.n * 5 * 5 * 3;
                               convolve<decltype(zero)>(kPadded, o, [=](int64_t x, int64_t w) {
                                 return std::pair{(x + 6 * 3) % count, w};
                               });
                             }),
                 "result: y"});
  const std::string bias = str(kPaddedForward, " bias");
  all.push_back({"forgets the bias", without_bias(bias, 4), "result: y"});
  all.push_back({"forgets the ReLU", run_as(bias + " relu", bias), "result: y"});
  for (const std::string pass : {"backward_data", "backward_weights"}) {
    const std::string title = str("conv2d ", pass, " 2x5x5x3 -> 4, 3x3 padding 1");
    all.push_back({pass + " overwrites instead of accumulating",
                   run_as(title + " accumulate", title), "result: d"});
    all.push_back(
        {pass + " accumulates onto garbage", run_as(title, title + " accumulate"), "result: d"});
  }
  all.push_back({"backward_weights leaves out the last image",
                 run_instead("conv2d backward_weights 17x6x6x8 -> 8, 3x3",
                             [](auto zero, const Operands& o) {
                               using T = decltype(zero);
                               const Conv2dShape d{16, 6, 6, 8, 8, 3, 3, 1, 0};
                               T* dfilters = o.get<T>("dfilters");
                               std::fill_n(dfilters, d.k * d.r * d.s * d.c, T{0});
                               reference::for_each_conv2d_product(
                                   d, [&](int64_t x, int64_t w, int64_t y) {
                                     dfilters[w] += o.get<T>("x")[x] * o.get<T>("dy")[y];
                                   });
                             }),
                 "result: dfilters"});
}

constexpr Pool2dShape kOverlapping{2, 7, 7, 16, 3, 2, 1};
constexpr const char* kOverlappingName = " 2x7x7x16 window 3 stride 2 padding 1";

void add_pool2d(Broken& all) {
  all.push_back({"lets the last of equals win",
                 run_instead(str("pool2d max_forward", kOverlappingName, " ties"),
                             [](auto zero, const Operands& o) {
                               using T = decltype(zero);
                               int64_t last = -1;
                               reference::for_each_pool2d_element(
                                   kOverlapping, [&](int64_t x, int64_t y, uint8_t place) {
                                     const T value = o.get<T>("x")[x];
                                     if (y == last && value < o.get<T>("y")[y]) return;
                                     last = y;
                                     o.get<T>("y")[y] = value;
                                     o.get<uint8_t>("argmax")[y] = place;
                                   });
                             }),
                 "result: argmax"});
  all.push_back({"lets the padding win over negative numbers",
                 run_then(str("pool2d max_forward", kOverlappingName),
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            const Pool2dShape& d = kOverlapping;
                            for (int64_t i = 0; i < reference::pool2d_output_count(d); ++i) {
                              // Windows of the first row and column hold padding.
                              const int64_t p = i / (d.q() * d.c) % d.p(), q = i / d.c % d.q();
                              if (p == 0 || q == 0)
                                o.get<T>("y")[i] = std::max(o.get<T>("y")[i], T{0});
                            }
                          }),
                 "result: y"});
  all.push_back({"forgets the ReLU",
                 run_as(str("pool2d max_forward", kOverlappingName, " relu"),
                        str("pool2d max_forward", kOverlappingName)),
                 "result: y"});
  for (const std::string pass : {"max_backward", "average_backward"}) {
    all.push_back({pass + " overwrites instead of accumulating",
                   run_as(str("pool2d ", pass, kOverlappingName, " accumulate"),
                          str("pool2d ", pass, kOverlappingName)),
                   "result: dx"});
  }
  all.push_back({"divides by the elements inside alone",
                 run_instead(str("pool2d average_forward", kOverlappingName),
                             [](auto zero, const Operands& o) {
                               using T = decltype(zero);
                               const int64_t count = reference::pool2d_output_count(kOverlapping);
                               std::vector<T> inside(static_cast<size_t>(count));
                               std::fill_n(o.get<T>("y"), count, T{0});
                               reference::for_each_pool2d_element(
                                   kOverlapping, [&](int64_t x, int64_t y, uint8_t) {
                                     o.get<T>("y")[y] += o.get<T>("x")[x];
                                     inside[static_cast<size_t>(y)] += T{1};
                                   });
                               for (int64_t y = 0; y < count; ++y) {
                                 o.get<T>("y")[y] /= inside[static_cast<size_t>(y)];
                               }
                             }),
                 "result: y"});
  all.push_back({"forgets 1 / pixels",
                 run_then("pool2d global_average_backward [2,3,5,7]",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            scale_all(o.get<T>("dx"), 2 * 3 * 5 * 7, T{15});
                          }),
                 "result: dx"});
}

void add_elementwise(Broken& all) {
  const auto swap = [&](const char* what, const char* name, const char* other, const char* fault) {
    all.push_back({what, run_as(str("elementwise ", name), str("elementwise ", other)), fault});
  };
  swap("fill forgets the factor", "fill 1025 accumulate scalar from the device", "fill 1025",
       "result: x");
  swap("scale overwrites instead of accumulating", "scale 1025 accumulate", "scale 1025",
       "result: y");
  all.push_back({"scale ignores alpha in device memory",
                 run_with("elementwise scale 1025 accumulate scalar from the device", "alpha",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            *o.get<T>("alpha") = T{0.75};
                          }),
                 "result: y"});
  swap("multiply overwrites instead of accumulating", "multiply 1025 accumulate", "multiply 1025",
       "result: y");
  swap("add multiplies", "add 1025", "multiply 1025", "result: y");
  swap("relu_backward overwrites instead of accumulating", "relu_backward 1025 accumulate",
       "relu_backward 1025", "result: dx");
  swap("bias_relu_backward overwrites dbias", "bias_relu_backward 65x33 accumulate",
       "bias_relu_backward 65x33", "result: dbias");
  all.push_back({"relu_backward lets dy through at 0",
                 run_then("elementwise relu_backward 1025",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            for (int64_t i = 0; i < 1025; ++i) {
                              if (o.get<T>("y")[i] == 0) o.get<T>("dx")[i] = o.get<T>("dy")[i];
                            }
                          }),
                 "result: dx"});
  all.push_back({"relu_forward turns NaN into 0",
                 run_then("elementwise relu_forward 1000 with NaN",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            for (int64_t i = 0; i < 1000; ++i) {
                              T& y = o.get<T>("y")[i];
                              if (y != y) y = 0;
                            }
                          }),
                 "result: y"});
  all.push_back({"bias_relu_backward sums dy instead of dz",
                 run_then("elementwise bias_relu_backward 65x33",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            std::fill_n(o.get<T>("dbias"), 33, T{0});
                            for (int64_t i = 0; i < 65 * 33; ++i) {
                              o.get<T>("dbias")[i % 33] += o.get<T>("dy")[i];
                            }
                          }),
                 "result: dbias"});
}

void add_dropout(Broken& all) {
  all.push_back({"forgets 1 / (1 - p)",
                 run_then("dropout 1025 p 0.25",
                          [](auto zero, const Operands& o) {
                            using T = decltype(zero);
                            scale_all(o.get<T>("y"), 1025, static_cast<T>(0.75));
                          }),
                 "result: y"});
  all.push_back({"overwrites instead of accumulating",
                 run_instead("dropout 1025 p 0.5 accumulate",
                             [](auto zero, const Operands& o) {
                               using T = decltype(zero);
                               std::copy_n(o.get<T>("x"), 1025, o.get<T>("y"));
                             }),
                 "result: y"});
  all.push_back({"draws the mask of the step before",
                 run_with("dropout 1025 p 0.25", "step",
                          [](auto, const Operands& o) { --*o.get<int64_t>("step"); }),
                 "result: y"});
}

}  // namespace

std::vector<BrokenKernel> broken_kernels() {
  Broken all;
  add_gemm(all);
  add_conv2d(all);
  add_pool2d(all);
  add_elementwise(all);
  add_dropout(all);
  add_broken_batch_norm(all);
  add_broken_losses_and_optimizers(all);
  add_broken_sequences(all);
  return all;
}

}  // namespace flyball::testing
