// What the table of cases does not say about gemm and conv2d: the column sums that a convolution
// leaves for a batch norm, on the CPU and on CUDA in every precision, and who refuses tf32.

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "framework/run.h"
#include "framework/tensor.h"
#include "kernels/conv2d.h"
#include "kernels/error.h"
#include "kernels/gemm.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

struct Case {
  Conv2dShape shape;
  bool bias = false, relu = false;
  double mean = 0;  // of x
};

// One tile of rows with and without a rest, several, splits of the sum, whole vectors and not, and
// the largest tiles.
const Case kCases[] = {
    {{.n = 1, .h = 1, .w = 1, .c = 3, .k = 5, .r = 1, .s = 1}},
    {{.n = 1, .h = 8, .w = 8, .c = 8, .k = 16, .r = 3, .s = 3, .padding = 1}, true},
    {{.n = 2, .h = 9, .w = 9, .c = 3, .k = 33, .r = 3, .s = 3, .padding = 1}, true, true},
    {{.n = 3, .h = 11, .w = 7, .c = 16, .k = 70, .r = 3, .s = 3, .stride = 2, .padding = 1}},
    {{.n = 2, .h = 8, .w = 8, .c = 64, .k = 64, .r = 3, .s = 3, .padding = 1}, true, true},
    {{.n = 1, .h = 5, .w = 5, .c = 135, .k = 31, .r = 3, .s = 3, .padding = 1}, true},
    {{.n = 2, .h = 8, .w = 8, .c = 64, .k = 64, .r = 3, .s = 3}, true, false, 1000},
    {{.n = 2, .h = 9, .w = 9, .c = 8, .k = 24, .r = 1, .s = 1}, true, false, 1000},
    {{.n = 17, .h = 32, .w = 31, .c = 8, .k = 40, .r = 1, .s = 1}, true},
    {{.n = 17, .h = 32, .w = 31, .c = 3, .k = 136, .r = 1, .s = 1}, true, false, 100},
};

template <class T>
Tensor made(const Stream& stream, const Shape& shape, uint64_t seed, double mean,
            double deviation) {
  std::vector<T> values;
  for (const double x : normal_values(shape.count(), seed)) {
    const double value = mean + deviation * x;
    if constexpr (std::is_same_v<T, bf16>) {
      values.push_back(to_bf16(static_cast<float>(value)));
    } else {
      values.push_back(static_cast<T>(value));
    }
  }
  Tensor tensor =
      Tensor::empty(stream, {shape.count() * static_cast<int64_t>(sizeof(T))}, DType::u8);
  copy_to_device(stream, tensor.mutable_raw(), values.data(),
                 static_cast<int64_t>(values.size() * sizeof(T)));
  return tensor;
}

template <class T>
std::vector<T> read(const Stream& stream, const Tensor& tensor) {
  const auto bytes = tensor.shape().count();
  std::vector<T> values(static_cast<size_t>(bytes) / sizeof(T));
  copy_to_host(stream, values.data(), tensor.raw(), bytes);
  return values;
}

double as_double(bf16 x) { return static_cast<double>(to_float(x)); }
double as_double(double x) { return x; }

// The first wrong number, or nothing.
template <class T, auto cpu_function>
std::string fault_of(const Stream& stream, const Case& test, bool tf32) {
  using Sum = Accumulator<T>;
  const Conv2dShape& d = test.shape;
  const int64_t rows = d.n * d.p() * d.q(), tiles = column_sum_tiles(d);
  const Tensor x = made<T>(stream, {d.n, d.h, d.w, d.c}, 1, test.mean, 1);
  const Tensor filters = made<T>(stream, {d.k, d.r, d.s, d.c}, 2, 0, 1);
  const Tensor bias = made<Sum>(stream, {d.k}, 3, test.mean, 1);
  const auto bytes = [](int64_t count, size_t size) {
    return Shape{count * static_cast<int64_t>(size)};
  };
  Tensor y = Tensor::empty(stream, bytes(rows * d.k, sizeof(T)), DType::u8);
  Tensor plain = Tensor::empty(stream, bytes(rows * d.k, sizeof(T)), DType::u8);
  Tensor sums = Tensor::empty(stream, bytes(tiles * 2 * d.k, sizeof(Sum)), DType::u8);
  const auto forward = [&](Tensor& to, Sum* column_sums) {
    run<cpu_function, cuda::conv2d_forward<T>>(
        stream, Conv2dForward<T>{.x = static_cast<const T*>(x.raw()),
                                 .filters = static_cast<const T*>(filters.raw()),
                                 .bias = test.bias ? static_cast<const Sum*>(bias.raw()) : nullptr,
                                 .y = static_cast<T*>(to.mutable_raw()),
                                 .column_sums = column_sums,
                                 .shape = d,
                                 .relu = test.relu,
                                 .tf32 = tf32});
  };
  forward(plain, nullptr);
  forward(y, static_cast<Sum*>(sums.mutable_raw()));
  const std::vector<T> got = read<T>(stream, y), without = read<T>(stream, plain);
  const std::vector<Sum> got_sums = read<Sum>(stream, sums);
  for (size_t i = 0; i < got.size(); ++i) {
    if (as_double(got[i]) != as_double(without[i])) return str("y[", i, "] depends on the sums");
  }
  const double u = std::is_same_v<Sum, double> ? 0x1p-53 : 0x1p-24;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t first = t * kColumnSumRows,
                  count = std::min<int64_t>(kColumnSumRows, rows - first);
    const auto n = static_cast<double>(count);
    for (int64_t k = 0; k < d.k; ++k) {
      const auto value = [&](int64_t i) {
        return as_double(got[static_cast<size_t>((first + i) * d.k + k)]);
      };
      double sum = 0, magnitude = 0, squares = 0;
      for (int64_t i = 0; i < count; ++i) {
        sum += value(i);
        magnitude += std::abs(value(i));
      }
      for (int64_t i = 0; i < count; ++i) squares += std::pow(value(i) - sum / n, 2);
      // n - 1 roundings of the sum, one more of the mean, which is off by `shift` then; a shifted
      // mean adds n * shift^2 to the squares; each square has three roundings before it is added.
      // In units of u, doubled for the reference's own roundings and products of errors.
      const double shift = 2 * (n + 1) * u * magnitude / n;
      const double allowed = 2 * (n + 3) * u * (squares + n * shift * shift) + n * shift * shift;
      const auto at = static_cast<size_t>((2 * t) * d.k + k);
      const auto got_sum = static_cast<double>(got_sums[at]);
      const auto got_squares = static_cast<double>(got_sums[at + static_cast<size_t>(d.k)]);
      if (!(std::abs(got_sum - sum) <= 2 * n * u * magnitude)) {
        return str("sum of tile ", t, ", column ", k, " is ", got_sum, ", expected ", sum);
      }
      if (!(std::abs(got_squares - squares) <= allowed)) {
        return str("squares of tile ", t, ", column ", k, " are ", got_squares, ", expected ",
                   squares, " within ", allowed);
      }
    }
  }
  return "";
}

template <class T, auto cpu_function>
void check(const Stream& stream, const char* name, bool tf32 = false) {
  for (const Case& test : kCases) {
    const Conv2dShape& d = test.shape;
    const std::string fault = fault_of<T, cpu_function>(stream, test, tf32);
    CHECK_MESSAGE(fault.empty(), name << " " << d.n << "x" << d.h << "x" << d.w << "x" << d.c
                                      << " -> " << d.k << ": " << fault);
  }
}

}  // namespace

TEST_CASE("column sums: those of the CPU are the sums of what is stored") {
  check<float, cpu::conv2d_forward<float>>(testing::stream(), "f32");
  check<double, cpu::conv2d_forward<double>>(testing::stream(), "f64");
}

TEST_CASE("column sums: those of CUDA are the sums of what is stored, in every precision") {
  std::unique_ptr<Stream> stream;
  try {
    stream = std::make_unique<Stream>(parse_device("cuda"));
  } catch (const Error& error) {
    MESSAGE("skipped: no CUDA device: " << error.what());
    return;
  }
  check<float, cpu::conv2d_forward<float>>(*stream, "f32");
  check<double, cpu::conv2d_forward<double>>(*stream, "f64");
  check<float, nullptr>(*stream, "tf32", true);
  check<bf16, nullptr>(*stream, "bf16");
}

TEST_CASE("tf32: the CPU refuses it") {
  CHECK_THROWS_WITH_AS(cpu::gemm(Gemm<float>{.tf32 = true}),
                       "gemm: tf32 needs a CUDA device of compute capability 8.0 or newer", Error);
  const char* conv2d = "conv2d: tf32 needs a CUDA device of compute capability 8.0 or newer";
  CHECK_THROWS_WITH_AS(cpu::conv2d_forward(Conv2dForward<float>{.shape = {}, .tf32 = true}), conv2d,
                       Error);
  CHECK_THROWS_WITH_AS(
      cpu::conv2d_backward_data(Conv2dBackwardData<float>{.shape = {}, .tf32 = true}), conv2d,
      Error);
  CHECK_THROWS_WITH_AS(
      cpu::conv2d_backward_weights(Conv2dBackwardWeights<float>{.shape = {}, .tf32 = true}), conv2d,
      Error);
}
