// tf32 and bf16 on a CUDA device, real or simulated: rounding, refusals, gradients, training.

#include <cmath>
#include <cstring>
#include <numeric>
#include <span>

#include "datasets/synthetic.h"
#include "framework/sample_loader.h"
#include "framework/trainer.h"
#include "kernels/copy.h"
#include "models/cnn.h"
#include "models/mlp.h"
#include "models/task.h"
#include "tests/cuda_device.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

// The same numbers on another device, in another dtype.
Tensor moved(const Stream& to, const Tensor& f64, DType dtype) {
  const std::vector<double> values = f64.to_host<double>(stream());
  return Tensor::from_host(to, f64.shape(), std::span<const double>(values)).cast(to, dtype);
}

std::vector<double> values_on(const Stream& on, const Tensor& tensor) {
  if (tensor.dtype() == DType::f64) return tensor.to_host<double>(on);
  const std::vector<float> values =
      (tensor.dtype() == DType::f32 ? tensor : tensor.cast(on, DType::f32)).to_host<float>(on);
  return {values.begin(), values.end()};
}

double norm(const std::vector<double>& x) {
  double sum = 0;
  for (const double value : x) sum += value * value;
  return std::sqrt(sum);
}

double relative_distance(const std::vector<double>& got, const std::vector<double>& want) {
  REQUIRE(got.size() == want.size());
  std::vector<double> difference(got.size());
  for (size_t i = 0; i < got.size(); ++i) difference[i] = got[i] - want[i];
  return norm(difference) / norm(want);
}

// Every upper half of an f32, with lower halves on either side of a tie and on it.
std::vector<float> rounding_values() {
  std::vector<float> values;
  for (uint32_t upper = 0; upper < 0x10000; ++upper) {
    for (const uint32_t lower : {0x0000U, 0x0001U, 0x7FFFU, 0x8000U, 0x8001U, 0xFFFFU}) {
      const uint32_t bits = upper << 16 | lower;
      float value;
      std::memcpy(&value, &bits, sizeof value);
      values.push_back(value);
    }
  }
  return values;
}

// The rule in f64: of the two neighbours the nearer one, of two as near the even one.
uint16_t nearest_bf16(float x) {
  if (std::isnan(x)) return 0x7FFF;
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const auto below = static_cast<uint16_t>(bits >> 16);
  if (std::isinf(x)) return below;
  const auto size = [](uint16_t half) {
    // Where an infinity is, the next number would be.
    if ((half & 0x7FFF) == 0x7F80) return 0x1p128;
    return std::abs(static_cast<double>(to_float(bf16{half})));
  };
  const auto above = static_cast<uint16_t>(below + 1);
  const double magnitude = std::abs(static_cast<double>(x));
  const double down = magnitude - size(below), up = size(above) - magnitude;
  if (down != up) return down < up ? below : above;
  return below % 2 == 0 ? below : above;
}

using Numbers = std::vector<std::vector<double>>;

// Gradients of a convolution with a ReLU, a pooling, a linear layer and the loss: of the filters,
// the weight, the biases and x. x and filters are integers and the convolution's bias halves, which
// every precision holds: what is behind the ReLU is never 0, so that none flips at its kink.
Numbers small_net_gradients(const Stream& on, DType dtype, Precision precision) {
  const auto leaf = [&](const Shape& shape, uint64_t seed, auto value) {
    std::vector<double> values = normal_values(shape.count(), seed);
    for (double& x : values) x = static_cast<double>(static_cast<float>(value(x)));
    const Tensor f64 = Tensor::from_host(on, shape, std::span<const double>(values));
    return Variable(f64.cast(on, dtype), true);
  };
  const auto integer = [](double x) { return std::round(x); };
  const auto half = [](double x) { return std::round(x) + 0.5; };
  const auto small = [](double x) { return 0.01 * x; };
  const std::vector<Variable> leaves = {leaf({16, 3, 3, 8}, 1, integer), leaf({16}, 2, half),
                                        leaf({10, 16 * 4 * 4}, 3, small), leaf({10}, 4, small),
                                        leaf({8, 8, 8, 8}, 5, integer)};
  const std::vector<int32_t> labels = {0, 1, 2, 3, 4, 5, 6, 7};
  const Context context{.stream = on, .training = true, .precision = precision};
  Variable y = conv2d(context, leaves[4], leaves[0], leaves[1], {.padding = 1, .relu = true});
  y = flatten(average_pool2d(context, y));
  y = linear(context, y, leaves[2], leaves[3]);
  const Variable loss =
      softmax_cross_entropy(context, y, Tensor::from_host(on, {8}, std::span(labels))).loss;
  CHECK(loss.dtype() == dtype);
  loss.backward(on);
  Numbers gradients;
  for (const Variable& x : leaves) {
    CHECK(x.gradient().dtype() == dtype);
    gradients.push_back(values_on(on, x.gradient()));
  }
  return gradients;
}

// By SGD: Adam's first updates take the sign of a gradient whatever its size, so that the rounding
// of a tiny one becomes a whole step.
template <class Network, class... Arguments>
std::vector<double> losses(const Stream& on, Precision precision, int64_t batch, double step_size,
                           Arguments&&... arguments) {
  constexpr int64_t kSteps = 30;
  const ImageDataset dataset(synthetic_images(160, 28, 28, 1, 10, 3));
  SampleLoader training(on, dataset, first_indices(dataset.size()),
                        {.batch_size = batch, .seed = 1});
  Initializer init(on, 1);
  const Model model = make_model<Network>(init, std::forward<Arguments>(arguments)...);
  ParameterArena arena(on, *model.module);
  LearningRate rate(on, ConstantRule{step_size},
                    {.steps_per_epoch = training.batches_per_epoch(), .total_steps = kSteps});
  Sgd sgd(on, arena, rate);
  Trainer trainer(on, model.forward, sgd, rate, {.seed = 1, .precision = precision});
  std::vector<double> all;
  for (int64_t step = 0; step < kSteps; ++step) {
    trainer.step(training.next());
    all.push_back(trainer.last_result().loss.item(on));
  }
  arena.check_guards(on);
  return all;
}

// The largest difference from fp32, relative to its loss.
template <class Network, class... Arguments>
void check_training(int64_t batch, double step_size, Arguments... arguments) {
  const Stream* on = cuda_stream();
  if (on == nullptr) return;
  const auto run = [&](Precision precision) {
    return losses<Network>(*on, precision, batch, step_size, arguments...);
  };
  const std::vector<double> want = run(Precision::fp32);
  const auto difference = [&](Precision precision) {
    const std::vector<double> got = run(precision);
    double largest = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      const double relative = std::abs(got[i] - want[i]) / want[i];
      if (!(relative <= largest)) largest = relative;  // NaN stays
    }
    MESSAGE(std::string(name_of(precision))
            << ": losses within " << largest << " of fp32, relative");
    return largest;
  };
  const auto third = static_cast<std::ptrdiff_t>(want.size() / 3);
  CHECK(std::accumulate(want.end() - third, want.end(), 0.0) <
        std::accumulate(want.begin(), want.begin() + third, 0.0));
  const double tf32 = difference(Precision::tf32), bf16 = difference(Precision::bf16);
  // Measured at most: 3.7e-4 and 9.1e-4. Equal losses would come from a precision that is not used.
  CHECK(tf32 > 1e-6);
  CHECK(tf32 < 1e-3);
  CHECK(bf16 > 1e-5);
  CHECK(bf16 < 5e-3);
}

}  // namespace

TEST_CASE("precision: names are read, and others refused") {
  for (const char* name : {"fp32", "tf32", "bf16"}) {
    CHECK(std::string(name_of(parse_precision(name))) == name);
  }
  for (const char* name : {"", "fp16", "BF16", "bf16 "}) {
    CHECK(error_of([&] { parse_precision(name); }) ==
          str("--precision is '", name, "', expected one of: fp32, tf32, bf16"));
  }
}

TEST_CASE("precision: a device that cannot is refused") {
  const Device cpu, cuda{Device::Kind::cuda, 0};
  const auto refusal = [](Precision precision, Device device, int capability) {
    return error_of([&] { check_precision(precision, device, capability); });
  };
  CHECK(refusal(Precision::bf16, cpu, 0) ==
        "--precision bf16: cpu has no tensor cores, expected --device cuda");
  CHECK(error_of([&] { check_precision(Precision::tf32, cpu); }) ==
        "--precision tf32: cpu has no tensor cores, expected --device cuda");
  CHECK(refusal(Precision::bf16, cuda, 75) ==
        "--precision bf16: cuda:0 has compute capability 7.5, expected 8.0 or newer");
  CHECK(refusal(Precision::tf32, cuda, 80) == "");
  CHECK(refusal(Precision::bf16, cuda, 90) == "");
  CHECK(refusal(Precision::fp32, cuda, 75) == "");
  CHECK(error_of([&] { check_precision(Precision::fp32, cpu); }) == "");
  // Operations refuse too, before they allocate.
  const Context context{.stream = stream(), .precision = Precision::bf16};
  const Variable x(normal_tensor({2, 3}, 1, DType::f32));
  CHECK(contains(error_of([&] { matmul(context, x, x); }), "cpu has no tensor cores"));
}

TEST_CASE("precision: to_bf16 gives the nearest, ties the even one, and one NaN") {
  int wrong = 0;
  for (const float x : rounding_values()) wrong += to_bf16(x).bits != nearest_bf16(x) ? 1 : 0;
  CHECK(wrong == 0);
}

TEST_CASE("precision: casts on the device give the bits of to_bf16 and to_float") {
  const Stream* on = cuda_stream();
  if (on == nullptr) return;
  const std::vector<float> values = rounding_values();
  // The first cast by fours, the second, which starts off the alignment, one by one.
  for (const size_t from : {size_t{0}, size_t{1}}) {
    const std::span<const float> part = std::span(values).subspan(from);
    const auto count = static_cast<int64_t>(part.size());
    Tensor whole = Tensor::from_host(*on, {static_cast<int64_t>(values.size())},
                                     std::span<const float>(values));
    Tensor halves = Tensor::empty(*on, {count}, DType::bf16);
    run<nullptr, cuda::cast<float, bf16>>(*on, Cast<float, bf16>{.from = whole.data<float>() + from,
                                                                 .to = halves.mutable_data<bf16>(),
                                                                 .count = count});
    const std::vector<bf16> got = halves.to_host<bf16>(*on);
    const std::vector<float> back = halves.cast(*on, DType::f32).to_host<float>(*on);
    int wrong = 0, wrong_back = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      wrong += got[i].bits != to_bf16(part[i]).bits ? 1 : 0;
      const float want = to_float(got[i]);
      wrong_back += std::memcmp(&back[i], &want, sizeof want) != 0 ? 1 : 0;
    }
    CHECK(wrong == 0);
    CHECK(wrong_back == 0);
  }
}

TEST_CASE("precision: operations take the dtypes they say and refuse others in one line") {
  const Stream* on = cuda_stream();
  if (on == nullptr) return;
  const auto of = [&](const Shape& shape, DType dtype) {
    return Variable(moved(*on, normal_tensor(shape, 1), DType::f32).cast(*on, dtype));
  };
  const Context fp32{.stream = *on}, tf32{.stream = *on, .precision = Precision::tf32},
      bf16{.stream = *on, .precision = Precision::bf16};
  const Variable half = of({4, 8}, DType::bf16), single = of({4, 8}, DType::f32),
                 twice = of({4, 8}, DType::f64);
  CHECK(error_of([&] { linear(fp32, half, single, Variable()); }) ==
        "linear: x is bf16, expected f32 or f64");
  CHECK(error_of([&] { linear(tf32, twice, twice, Variable()); }) ==
        "linear: x is f64, expected f32 (precision tf32)");
  CHECK(error_of([&] { linear(bf16, twice, twice, Variable()); }) ==
        "linear: x is f64, expected f32 or bf16 (precision bf16)");
  CHECK(error_of([&] { linear(bf16, half, half, Variable()); }) ==
        "linear: weight is bf16, expected f32");
  CHECK(error_of([&] {
          matmul(bf16, single, of({8, 2}, DType::f64));
        }) == "matmul: b is f64, expected f32 or bf16 (precision bf16)");
  CHECK(error_of([&] { add(bf16, half, single); }) == "add: b is f32, expected bf16");
  CHECK(error_of([&] { relu(fp32, Variable(Tensor::zeros(*on, {4}, DType::i32))); }) ==
        "relu: x is i32, expected f32, f64 or bf16");
  for (const Variable& y :
       {linear(bf16, single, single, Variable()), linear(bf16, half, single, Variable()),
        matmul(bf16, half, of({8, 2}, DType::f32)), relu(bf16, half), add(bf16, half, half),
        multiply(bf16, half, half), scale(bf16, half, 2), sum(bf16, half), mean(bf16, half),
        transpose(bf16, half), flatten(half), cast(bf16, single, DType::bf16),
        conv2d(bf16, of({1, 4, 4, 8}, DType::f32), of({3, 3, 3, 8}, DType::f32), Variable()),
        max_pool2d(bf16, of({1, 4, 4, 8}, DType::bf16)),
        average_pool2d(bf16, of({1, 4, 4, 8}, DType::bf16)),
        global_average_pool(bf16, of({1, 4, 4, 8}, DType::bf16))}) {
    CHECK(y.dtype() == DType::bf16);
  }
  CHECK(linear(tf32, single, single, Variable()).dtype() == DType::f32);
  // On the CPU there is none.
  const Variable on_cpu(Tensor::zeros(stream(), {4}, DType::bf16));
  CHECK(error_of([&] { relu({.stream = stream()}, on_cpu); }) ==
        "relu: x is bf16 on the CPU, expected f32 or f64");
}

TEST_CASE("precision: bf16 gradients flow through every operation as those of f32 do") {
  const Stream* on = cuda_stream();
  if (on == nullptr) return;
  const DeviceValue<int64_t> step(*on, int64_t{3});
  const Context context{.stream = *on, .training = true, .seed = 5, .step = step.get()};
  // Numbers that bf16 holds, so that only the operations round.
  const Tensor numbers = moved(*on, normal_tensor({2, 4, 4, 8}, 6), DType::f32)
                             .cast(*on, DType::bf16)
                             .cast(*on, DType::f32);
  const auto gradient = [&](DType dtype) {
    const Variable x(numbers, true);
    const Variable h = cast(context, x, dtype);
    Variable y = sum(context, multiply(context, h, scale(context, h, 0.5)));
    const auto also = [&](const Variable& more) { y = add(context, y, sum(context, more)); };
    also(relu(context, h));
    also(max_pool2d(context, h));
    also(average_pool2d(context, h));
    also(global_average_pool(context, h));
    also(dropout(context, h, 0.25, 1));
    also(transpose(context, reshape(h, {16, 16})));
    y = add(context, y, mean(context, h));
    CHECK(y.dtype() == dtype);
    y.backward(*on);
    CHECK(x.gradient().dtype() == DType::f32);
    return values_on(*on, x.gradient());
  };
  const double distance = relative_distance(gradient(DType::bf16), gradient(DType::f32));
  MESSAGE("distance from f32: " << distance);
  CHECK(distance > 0);
  // Eight sums of gradients and the product round, each by at most 2^-8 of what it is.
  CHECK(distance < 9 * 0x1p-8);
}

TEST_CASE("precision: gradients of a small network, f32 for parameters, are near those in f64") {
  const Stream* on = cuda_stream();
  if (on == nullptr) return;
  const Numbers want = small_net_gradients(stream(), DType::f64, Precision::fp32);
  const auto check = [&](Precision precision, double least, double most) {
    const Numbers got = small_net_gradients(*on, DType::f32, precision);
    for (size_t i = 0; i < want.size(); ++i) {
      const double distance = relative_distance(got[i], want[i]);
      MESSAGE(std::string(name_of(precision)) << ": gradient " << i << " is off by " << distance);
      CHECK(distance > least);
      CHECK(distance < most);
    }
  };
  // Measured at most: 1.3e-7, 3.9e-4 and 3.3e-3.
  check(Precision::fp32, 0, 1e-6);
  check(Precision::tf32, 1e-5, 1e-3);
  check(Precision::bf16, 1e-4, 1e-2);
}

TEST_CASE("precision: 30 steps of the MLP in tf32 and bf16 have the losses of fp32") {
  check_training<Mlp>(32, 3e-2, Mlp::complex());
}

TEST_CASE("precision: 30 steps of the CNN in tf32 and bf16 have the losses of fp32") {
  check_training<Cnn>(2, 1e-3);
}
