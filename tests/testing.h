#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "framework/autograd.h"
#include "framework/module.h"
#include "framework/ops.h"
#include "framework/tensor.h"
#include "kernels/philox.h"

namespace flyball::testing {

// The stream that tests run on: of the CPU, or of FLYBALL_TEST_DEVICE.
inline const Stream& stream() {
  static const Stream stream([] {
    const char* device = std::getenv("FLYBALL_TEST_DEVICE");
    return device == nullptr ? Device{} : parse_device(device);
  }());
  return stream;
}

// count numbers from a normal distribution, the same for the same seed.
inline std::vector<double> normal_values(int64_t count, uint64_t seed) {
  std::vector<double> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const PhiloxWords words = philox_at(static_cast<uint64_t>(i), 0, 0, seed);
    const double radius = std::sqrt(-2 * std::log(uniform_open(words.word[0])));
    values[static_cast<size_t>(i)] =
        radius * std::cos(6.283185307179586 * uniform_open(words.word[1]));
  }
  return values;
}

inline Tensor tensor_of(const Shape& shape, const std::vector<double>& values,
                        DType dtype = DType::f64) {
  return Tensor::from_host(stream(), shape, std::span<const double>(values)).cast(stream(), dtype);
}

inline Tensor normal_tensor(const Shape& shape, uint64_t seed, DType dtype = DType::f64) {
  return tensor_of(shape, normal_values(shape.count(), seed), dtype);
}

inline Tensor labels_of(const std::vector<int32_t>& labels) {
  return Tensor::from_host(stream(), {static_cast<int64_t>(labels.size())},
                           std::span<const int32_t>(labels));
}

// Values of an f32 or f64 tensor as doubles.
inline std::vector<double> values_of(const Tensor& tensor) {
  return (tensor.dtype() == DType::f64 ? tensor : tensor.cast(stream(), DType::f64))
      .to_host<double>(stream());
}

// All parameters of a module, one after the other.
inline std::vector<double> parameter_values(Module& module) {
  std::vector<double> all;
  for (const auto& parameter : parameters_of(module)) {
    const std::vector<double> values = values_of(parameter.item->variable.value());
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

// The text of the Error that `action` throws; empty if it throws none.
template <class Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A folder of its own, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "flyball-test-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw Error("cannot make a temporary folder");
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace flyball::testing
