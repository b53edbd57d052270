#pragma once

#include <cmath>
#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/testing.h"

// The numbers of tests/golden/README.md, and comparisons with its files.
namespace flyball::testing::golden {

using Json = nlohmann::json;

inline uint64_t splitmix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

inline uint64_t bits(int64_t i, uint64_t stream_number) {
  return splitmix64((stream_number << 32) + static_cast<uint64_t>(i)) >> 40;
}

inline double u(int64_t i, uint64_t stream_number) {
  return static_cast<double>(bits(i, stream_number)) / 16777216.0;
}

inline std::vector<double> inputs(int64_t count, uint64_t step) {
  std::vector<double> x(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) x[static_cast<size_t>(i)] = u(i, 1000 + step);
  return x;
}

inline Tensor labels(int64_t count, uint64_t step) {
  std::vector<int32_t> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    values[static_cast<size_t>(i)] = static_cast<int32_t>(bits(i, 2000 + step) % 10);
  }
  return labels_of(values);
}

inline Json read(const std::string& name) {
  std::ifstream in(std::string(FLYBALL_SOURCE_DIR) + "/tests/golden/" + name + ".json");
  REQUIRE(in.good());
  return Json::parse(in);
}

inline double worst_relative(const std::vector<double>& got, const Json& expected) {
  REQUIRE(got.size() == expected.size());
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const auto wanted = expected[i].get<double>();
    worst = std::max(worst, std::abs(got[i] - wanted) / std::abs(wanted));
  }
  return worst;
}

// Largest distance of a sampled value; sums and norms as tests/golden/README.md says.
inline double distance(const Tensor& tensor, const Json& wanted) {
  const std::vector<double> values = values_of(tensor);
  const auto count = static_cast<int64_t>(values.size());
  double sum = 0, square = 0;
  for (double value : values) {
    sum += value;
    square += value * value;
  }
  const auto norm = wanted["l2"].get<double>();
  double worst = std::abs(sum - wanted["sum"].get<double>()) / (1 + norm);
  worst = std::max(worst, std::abs(std::sqrt(square) - norm) / (1 + norm));
  const auto samples = static_cast<int64_t>(wanted["samples"].size());
  REQUIRE(samples > 0);
  for (int64_t j = 0; j < samples; ++j) {
    worst = std::max(worst, std::abs(values[static_cast<size_t>(j * count / samples)] -
                                     wanted["samples"][static_cast<size_t>(j)].get<double>()));
  }
  return worst;
}

}  // namespace flyball::testing::golden
