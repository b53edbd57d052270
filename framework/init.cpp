#include "framework/init.h"

#include <Eigen/QR>
#include <cmath>

#include "framework/random_streams.h"
#include "kernels/philox.h"

namespace flyball {
namespace {

std::vector<double> uniform(int64_t count, double bound, uint64_t seed, uint32_t parameter) {
  std::vector<double> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const PhiloxWords words =
        philox_at(static_cast<uint64_t>(i / 4), parameter, random_streams::kInit, seed);
    values[static_cast<size_t>(i)] = bound * (2 * uniform_open(words.word[i % 4]) - 1);
  }
  return values;
}

// Box & Muller 1958: two normal numbers from two uniform ones.
std::vector<double> normal(int64_t count, double deviation, uint64_t seed, uint32_t parameter) {
  constexpr double kTwoPi = 6.283185307179586;
  std::vector<double> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const PhiloxWords words =
        philox_at(static_cast<uint64_t>(i / 4), parameter, random_streams::kInit, seed);
    const size_t pair = static_cast<size_t>(i % 4) / 2 * 2;
    const double radius = std::sqrt(-2 * std::log(uniform_open(words.word[pair])));
    const double angle = kTwoPi * uniform_open(words.word[pair + 1]);
    values[static_cast<size_t>(i)] =
        deviation * radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle));
  }
  return values;
}

// Q of the QR decomposition of a normal matrix, with R's diagonal made positive so that Q is
// uniform.
std::vector<double> orthogonal(int64_t rows, int64_t columns, uint64_t seed, uint32_t parameter) {
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const bool tall = rows >= columns;
  const int64_t m = tall ? rows : columns, n = tall ? columns : rows;
  std::vector<double> source = normal(m * n, 1, seed, parameter);
  const Matrix a = Eigen::Map<Matrix>(source.data(), m, n);
  const Eigen::HouseholderQR<Matrix> qr(a);
  Matrix q = qr.householderQ() * Matrix::Identity(m, n);
  for (int64_t j = 0; j < n; ++j) {
    if (qr.matrixQR()(j, j) < 0) q.col(j) = -q.col(j);
  }
  std::vector<double> values(static_cast<size_t>(rows * columns));
  Eigen::Map<Matrix>(values.data(), rows, columns) = tall ? q : Matrix(q.transpose());
  return values;
}

}  // namespace

Parameter Initializer::weight(const Shape& shape, int64_t fan_in, int64_t fan_out, Scheme scheme) {
  const uint32_t number = parameters_++;
  const auto in = static_cast<double>(fan_in), out = static_cast<double>(fan_out);
  const int64_t count = shape.count();
  switch (scheme) {
    case Scheme::kKaimingUniform:
      return parameter(shape, uniform(count, std::sqrt(6 / in), seed_, number), true);
    case Scheme::kKaimingNormal:
      return parameter(shape, normal(count, std::sqrt(2 / in), seed_, number), true);
    case Scheme::kXavierUniform:
      return parameter(shape, uniform(count, std::sqrt(6 / (in + out)), seed_, number), true);
    case Scheme::kXavierNormal:
      return parameter(shape, normal(count, std::sqrt(2 / (in + out)), seed_, number), true);
    case Scheme::kOrthogonal:
      return parameter(shape, orthogonal(shape[0], count / shape[0], seed_, number), true);
    case Scheme::kFanIn:
      break;
  }
  return parameter(shape, uniform(count, 1 / std::sqrt(in), seed_, number), true);
}

Parameter Initializer::bias(int64_t count, int64_t fan_in) {
  const uint32_t number = parameters_++;
  return parameter(
      {count}, uniform(count, 1 / std::sqrt(static_cast<double>(fan_in)), seed_, number), false);
}

Parameter Initializer::filled(const Shape& shape, double value, bool decay) {
  return parameter(shape, std::vector<double>(static_cast<size_t>(shape.count()), value), decay);
}

Parameter Initializer::parameter(const Shape& shape, const std::vector<double>& values,
                                 bool decay) {
  const std::span<const double> host(values);
  if (dtype_ == DType::f64) return {Variable(Tensor::from_host(stream_, shape, host), true), decay};
  const std::vector<float> rounded(values.begin(), values.end());
  return {Variable(Tensor::from_host(stream_, shape, std::span<const float>(rounded)), true),
          decay};
}

}  // namespace flyball
