#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "framework/dataset.h"
#include "kernels/permutation.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

using Indices = std::vector<int64_t>;

Indices permutation(int64_t count, uint64_t seed, uint32_t epoch = 0, uint32_t use = 0) {
  Indices values;
  for (int64_t i = 0; i < count; ++i) values.push_back(permuted(i, count, seed, epoch, use));
  return values;
}

bool is_bijection(const Indices& values) {
  std::vector<bool> seen(values.size());
  for (const int64_t value : values) {
    if (value < 0 || value >= static_cast<int64_t>(values.size())) return false;
    if (seen[static_cast<size_t>(value)]) return false;
    seen[static_cast<size_t>(value)] = true;
  }
  return true;
}

// How unequal the shares of `cells` cells are: the root mean square of their relative errors, less
// what chance explains (the chi-square statistic's mean).
template <class Key>
double bias(const std::map<Key, int64_t>& counts, int64_t cells) {
  double draws = 0;
  for (const auto& entry : counts) draws += static_cast<double>(entry.second);
  const double expected = draws / static_cast<double>(cells);
  double chi_square = expected * static_cast<double>(cells - static_cast<int64_t>(counts.size()));
  for (const auto& entry : counts) {
    const double off = static_cast<double>(entry.second) - expected;
    chi_square += off * off / expected;
  }
  return std::sqrt(std::max(0.0, chi_square - static_cast<double>(cells - 1)) / draws);
}

Indices together(const Split& split) {
  Indices all = split.training;
  all.insert(all.end(), split.validation.begin(), split.validation.end());
  return all;
}

}  // namespace

TEST_CASE("permutation: every count gives a bijection") {
  for (int64_t count = 1; count <= 200; ++count) {
    CAPTURE(count);
    for (const uint64_t seed : {uint64_t{0}, uint64_t{1}, std::numeric_limits<uint64_t>::max()}) {
      REQUIRE(is_bijection(permutation(count, seed)));
    }
  }
  // Powers of four, where the walk is shortest, and their neighbours, where it is longest.
  for (const int64_t count : {255, 256, 257, 4095, 4096, 4097, 60000, 65537}) {
    CAPTURE(count);
    REQUIRE(is_bijection(permutation(count, 7, 3, 9)));
  }
}

TEST_CASE("permutation: huge counts stay in range and do not repeat") {
  for (const int64_t count : {(int64_t{1} << 40) + 1, (int64_t{1} << 62) - 1, int64_t{1} << 62}) {
    CAPTURE(count);
    std::set<int64_t> values;
    for (int64_t i = 0; i < 500; ++i) {
      for (const int64_t place : {i, count - 1 - i}) {
        const int64_t value = permuted(place, count, 5, 0, 0);
        REQUIRE(value >= 0);
        REQUIRE(value < count);
        REQUIRE(values.insert(value).second);
      }
    }
  }
}

TEST_CASE("permutation: seed, epoch and use each select another order") {
  const Indices base = permutation(100, 1, 0, 0);
  CHECK(base == permutation(100, 1, 0, 0));
  CHECK(base != permutation(100, 2, 0, 0));
  CHECK(base != permutation(100, uint64_t{1} << 32, 0, 0));
  CHECK(base != permutation(100, 1, 1, 0));
  CHECK(base != permutation(100, 1, 0, 1));
}

TEST_CASE("permutation: every sample is as likely at every place") {
  for (const int64_t count : {2, 3, 4, 5, 10, 16, 17, 60}) {
    CAPTURE(count);
    std::map<int64_t, int64_t> first, middle, last, by_epoch;
    for (uint32_t i = 0; i < 20000; ++i) {
      ++first[permuted(0, count, i, 0, 0)];
      ++middle[permuted(count / 2, count, i, 0, 0)];
      ++last[permuted(count - 1, count, i, 0, 0)];
      ++by_epoch[permuted(0, count, 11, i, 0)];
    }
    CHECK(bias(first, count) < 0.06);
    CHECK(bias(middle, count) < 0.06);
    CHECK(bias(last, count) < 0.06);
    CHECK(bias(by_epoch, count) < 0.06);
  }
}

TEST_CASE("permutation: neighbours and whole orders are unbiased, too") {
  std::map<std::pair<int64_t, int64_t>, int64_t> of_20, of_60;
  std::map<Indices, int64_t> orders;
  for (uint64_t seed = 0; seed < 50000; ++seed) {
    ++of_20[{permuted(4, 20, seed, 0, 0), permuted(5, 20, seed, 0, 0)}];
    ++of_60[{permuted(58, 60, seed, 0, 0), permuted(59, 60, seed, 0, 0)}];
    ++orders[permutation(4, seed)];
  }
  CHECK(bias(of_20, 20 * 19) < 0.06);
  CHECK(bias(of_60, 60 * 59) < 0.06);
  CHECK(bias(orders, 24) < 0.06);
}

TEST_CASE("split: the parts are disjoint, cover everything and are in random order") {
  for (const int64_t size : {1, 2, 10, 997}) {
    for (const double fraction : {0.0, 0.1, 0.5, 0.9}) {
      CAPTURE(size);
      CAPTURE(fraction);
      const Split split = split_by_seed(size, fraction, 3);
      CHECK(is_bijection(together(split)));
      CHECK(static_cast<int64_t>(split.validation.size()) ==
            std::llround(fraction * static_cast<double>(size)));
    }
  }
  const Split split = split_by_seed(997, 0.3, 3);
  CHECK_FALSE(std::is_sorted(split.training.begin(), split.training.end()));
  CHECK_FALSE(std::is_sorted(split.validation.begin(), split.validation.end()));
  const Split empty = split_by_seed(0, 0.3, 3);
  CHECK((empty.training.empty() && empty.validation.empty()));
}

TEST_CASE("split: the fraction is rounded to whole samples, halves up") {
  const auto held_out = [](int64_t size, double fraction) {
    return split_by_seed(size, fraction, 1).validation.size();
  };
  CHECK(held_out(4000, 0.1) == 400);
  CHECK(held_out(10, 0.25) == 3);
  CHECK(held_out(10, 0.24) == 2);
  CHECK(held_out(4, 0.1) == 0);
  CHECK(held_out(4, 0.99) == 4);
  CHECK(held_out(1000, 1e-9) == 0);
}

TEST_CASE("split: a limit keeps the first of each part") {
  const Split whole = split_by_seed(100, 0.2, 5);
  const Split limited = split_by_seed(100, 0.2, 5, 30, 7);
  CHECK(limited.training == Indices(whole.training.begin(), whole.training.begin() + 30));
  CHECK(limited.validation == Indices(whole.validation.begin(), whole.validation.begin() + 7));
  const Split generous = split_by_seed(100, 0.2, 5, 1000, 1000);
  CHECK(generous.training == whole.training);
  CHECK(generous.validation == whole.validation);
}

TEST_CASE("split: depends on the seed, and holds out every sample about as often") {
  CHECK(split_by_seed(100, 0.2, 5).validation == split_by_seed(100, 0.2, 5).validation);
  CHECK(split_by_seed(100, 0.2, 5).validation != split_by_seed(100, 0.2, 6).validation);
  std::map<int64_t, int64_t> held_out;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    for (const int64_t sample : split_by_seed(50, 0.2, seed).validation) ++held_out[sample];
  }
  CHECK(bias(held_out, 50) < 0.06);
}

TEST_CASE("split: a fraction outside [0, 1) is refused") {
  for (const double fraction : {-0.1, 1.0, 1.5, std::numeric_limits<double>::quiet_NaN()}) {
    CHECK(error_of([&] { split_by_seed(10, fraction, 1); }) ==
          str("split: validation fraction is ", fraction, ", expected 0 <= value < 1"));
  }
}

TEST_CASE("first_indices: counts up to the size or the limit") {
  CHECK(first_indices(3) == Indices{0, 1, 2});
  CHECK(first_indices(3, 2) == Indices{0, 1});
  CHECK(first_indices(3, 9) == Indices{0, 1, 2});
  CHECK(first_indices(0).empty());
}
