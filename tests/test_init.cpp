#include <algorithm>

#include "framework/init.h"
#include "framework/layers.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

constexpr int64_t kOut = 200, kIn = 300;
constexpr Scheme kAllSchemes[] = {Scheme::kKaimingUniform, Scheme::kKaimingNormal,
                                  Scheme::kXavierUniform,  Scheme::kXavierNormal,
                                  Scheme::kOrthogonal,     Scheme::kFanIn};

struct Case {
  Scheme scheme;
  double expected;  // bound or variance
};

std::vector<double> weight(Scheme scheme, uint64_t seed, const Shape& shape = {kOut, kIn},
                           DType dtype = DType::f64) {
  Initializer init(stream(), seed, dtype);
  return values_of(init.weight(shape, shape.count() / shape[0], shape[0], scheme).variable.value());
}

// Equal to `value` but for a relative error; doctest's own scale would make it absolute below 1.
doctest::Approx relative(double value, double error) {
  return doctest::Approx(value).epsilon(error).scale(0);
}

// Mean of x^power.
double moment(const std::vector<double>& values, int power) {
  double sum = 0;
  for (const double value : values) sum += std::pow(value, power);
  return sum / static_cast<double>(values.size());
}

double largest(const std::vector<double>& values) {
  double most = 0;
  for (const double value : values) most = std::max(most, std::abs(value));
  return most;
}

// Largest deviation of the Gram matrix of the fewer ones of rows and columns from the identity.
double orthogonality_error(const std::vector<double>& q, int64_t rows, int64_t columns) {
  const bool wide = rows <= columns;
  const int64_t n = wide ? rows : columns, length = wide ? columns : rows;
  const auto at = [&](int64_t vector, int64_t i) {
    return q[static_cast<size_t>(wide ? vector * columns + i : i * columns + vector)];
  };
  double error = 0;
  for (int64_t a = 0; a < n; ++a) {
    for (int64_t b = 0; b < n; ++b) {
      double dot = 0;
      for (int64_t i = 0; i < length; ++i) dot += at(a, i) * at(b, i);
      error = std::max(error, std::abs(dot - (a == b ? 1 : 0)));
    }
  }
  return error;
}

// The mean is within four standard errors of 0, the variance within 2% of the expected one, and
// neighbours are uncorrelated.
void check_centred(const std::vector<double>& values, double variance) {
  const auto count = static_cast<double>(values.size());
  CHECK(std::abs(moment(values, 1)) < 4 * std::sqrt(variance / count));
  CHECK(moment(values, 2) == relative(variance, 0.02));
  for (size_t lag = 1; lag <= 4; ++lag) {
    CAPTURE(lag);
    double product = 0;
    for (size_t i = lag; i < values.size(); ++i) product += values[i] * values[i - lag];
    CHECK(std::abs(product / count) < 4 * variance / std::sqrt(count));
  }
}

}  // namespace

TEST_CASE("init: uniform schemes have their bound, variance and flat shape") {
  for (const Case& test : {Case{Scheme::kKaimingUniform, std::sqrt(6.0 / kIn)},
                           Case{Scheme::kXavierUniform, std::sqrt(6.0 / (kIn + kOut))},
                           Case{Scheme::kFanIn, 1 / std::sqrt(1.0 * kIn)}}) {
    const double bound = test.expected;
    CAPTURE(static_cast<int>(test.scheme));
    for (const uint64_t seed : {1, 2, 3}) {
      CAPTURE(seed);
      const std::vector<double> values = weight(test.scheme, seed);
      check_centred(values, bound * bound / 3);
      CHECK(largest(values) < bound);
      CHECK(largest(values) > 0.999 * bound);
      CHECK(moment(values, 4) == relative(std::pow(bound, 4) / 5, 0.03));
    }
  }
}

TEST_CASE("init: normal schemes have their variance and the normal shape") {
  for (const Case& test :
       {Case{Scheme::kKaimingNormal, 2.0 / kIn}, Case{Scheme::kXavierNormal, 2.0 / (kIn + kOut)}}) {
    const double variance = test.expected;
    CAPTURE(static_cast<int>(test.scheme));
    for (const uint64_t seed : {1, 2, 3}) {
      CAPTURE(seed);
      const std::vector<double> values = weight(test.scheme, seed);
      check_centred(values, variance);
      CHECK(moment(values, 4) == relative(3 * variance * variance, 0.05));
      CHECK(std::abs(moment(values, 3)) < 0.06 * std::pow(variance, 1.5));
      const auto beyond = std::count_if(values.begin(), values.end(), [=](double x) {
        return std::abs(x) > 1.959964 * std::sqrt(variance);
      });
      CHECK(static_cast<double>(beyond) / (kOut * kIn) == relative(0.05, 0.1));
    }
  }
}

TEST_CASE("init: orthogonal rows where there are fewer rows, else orthogonal columns") {
  for (const Shape& shape : {Shape{20, 50}, Shape{50, 20}, Shape{30, 30}, Shape{1, 9}, Shape{9, 1},
                             Shape{8, 3, 3, 2}, Shape{64, 3, 3, 1}}) {
    CAPTURE(shape);
    const int64_t rows = shape[0], columns = shape.count() / shape[0];
    CHECK(orthogonality_error(weight(Scheme::kOrthogonal, 3, shape), rows, columns) < 1e-12);
    CHECK(orthogonality_error(weight(Scheme::kOrthogonal, 3, shape, DType::f32), rows, columns) <
          1e-6);
  }
}

TEST_CASE("init: orthogonal matrices prefer no direction") {
  // Householder's method alone would fix the sign of the diagonal.
  double first = 0, last = 0, square = 0;
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    const std::vector<double> q = weight(Scheme::kOrthogonal, seed, {3, 3});
    first += q.front() / 1000;
    last += q.back() / 1000;
    square += q.front() * q.front() / 1000;
  }
  CHECK(std::abs(first) < 0.075);  // four standard errors
  CHECK(std::abs(last) < 0.075);
  CHECK(square == relative(1.0 / 3, 0.12));
}

TEST_CASE("init: a seed gives the same numbers, another seed and another parameter others") {
  for (const Scheme scheme : kAllSchemes) {
    CAPTURE(static_cast<int>(scheme));
    CHECK(weight(scheme, 5, {6, 7}) == weight(scheme, 5, {6, 7}));
    CHECK(weight(scheme, 5, {6, 7}) != weight(scheme, 6, {6, 7}));
    CHECK(weight(scheme, 5, {6, 7}) != weight(scheme, 5 + (uint64_t{1} << 32), {6, 7}));
    Initializer init(stream(), 5, DType::f64);
    std::vector<std::vector<double>> parameters(3);
    for (auto& values : parameters) {
      values = values_of(init.weight({6, 7}, 7, 6, scheme).variable.value());
    }
    CHECK(parameters[0] == weight(scheme, 5, {6, 7}));
    // No two share a number, also not at another place.
    std::vector<double> all;
    for (const auto& values : parameters) all.insert(all.end(), values.begin(), values.end());
    std::sort(all.begin(), all.end());
    CHECK(std::adjacent_find(all.begin(), all.end()) == all.end());
  }
}

TEST_CASE("init: a longer parameter begins with the shorter one's numbers") {
  const std::vector<double> shorter = weight(Scheme::kKaimingNormal, 5, {3, 7});
  std::vector<double> longer = weight(Scheme::kKaimingNormal, 5, {6, 7});
  longer.resize(shorter.size());
  CHECK(shorter == longer);
}

TEST_CASE("init: f32 numbers are the rounded f64 ones") {
  for (const Scheme scheme : kAllSchemes) {
    CAPTURE(static_cast<int>(scheme));
    std::vector<double> expected = weight(scheme, 5, {16, 9});
    for (double& value : expected) value = static_cast<float>(value);
    CHECK(weight(scheme, 5, {16, 9}, DType::f32) == expected);
  }
}

TEST_CASE("init: a bias is bounded by its layer's inputs and is spared by weight decay") {
  Initializer init(stream(), 1, DType::f64);
  const Parameter bias = init.bias(20000, 25);
  CHECK(bias.variable.shape() == Shape({20000}));
  CHECK_FALSE(bias.decay);
  CHECK(bias.variable.requires_gradient());
  const std::vector<double> values = values_of(bias.variable.value());
  check_centred(values, 0.04 / 3);
  CHECK(largest(values) < 0.2);
  CHECK(largest(values) > 0.199);
  CHECK(init.weight({2, 2}, 2, 2).decay);
}

TEST_CASE("init: filled parameters use up no random numbers") {
  Initializer init(stream(), 5, DType::f64);
  const Parameter ones = init.filled({2, 3}, 1, false);
  CHECK(values_of(ones.variable.value()) == std::vector<double>(6, 1));
  CHECK_FALSE(ones.decay);
  CHECK(values_of(init.weight({6, 7}, 7, 6).variable.value()) == weight(Scheme::kFanIn, 5, {6, 7}));
  CHECK(init.next_dropout_layer() == 0);
  CHECK(init.next_dropout_layer() == 1);
}

TEST_CASE("init: layers count their inputs: features, or channels times the filter's area") {
  Initializer init(stream(), 1);
  const Linear linear(init, 400, 50);
  const Conv2d conv(init, 16, 50, 5);
  for (const Parameter* parameter : {&linear.weight, &conv.weight}) {
    const double most = largest(values_of(parameter->variable.value()));
    CHECK(most <= 0.05001);
    CHECK(most > 0.0499);
  }
  CHECK(largest(values_of(linear.bias.variable.value())) <= 0.05001);
  CHECK(largest(values_of(conv.bias.variable.value())) <= 0.05001);
  CHECK(largest(values_of(conv.bias.variable.value())) > 0.04);
  const Conv2d kaiming(init, 16, 50, 5, {.scheme = Scheme::kKaimingNormal});
  CHECK(moment(values_of(kaiming.weight.variable.value()), 2) == relative(2.0 / 400, 0.05));
  const Conv2d xavier(init, 4, 100, 5, {.scheme = Scheme::kXavierNormal});
  CHECK(moment(values_of(xavier.weight.variable.value()), 2) == relative(2.0 / (100 + 2500), 0.05));
}
