#include "kernels/augment.h"

#include <algorithm>

#include "tests/op_cases.h"
#include "tests/reference/augment.h"

namespace flyball::testing {
namespace {

struct Options {
  double flip_probability = 0, rotation_degrees = 0;
  int64_t crop_padding = 0;
};

// The turned position is off by up to 4 u (h + w) on each axis, and the image changes by no more
// than 255 over one pixel; interpolation and normalisation add 8 u of 255 each.
Numbers error_scale(int64_t h, int64_t w, bool turned, const Operands& before,
                    const Operands& wanted) {
  const std::vector<double> mean = before.numbers(4), deviation = before.numbers(5);
  const double position = turned ? 8 * static_cast<double>(h + w) : 0;
  const double largest_mean = *std::max_element(mean.begin(), mean.end());
  const double least_deviation = *std::min_element(deviation.begin(), deviation.end());
  Numbers scale(wanted.size());
  for (size_t i = 0; i < scale.size(); ++i) {
    scale[i].assign(static_cast<size_t>(wanted.count(i)),
                    (position + 16) * (1 + largest_mean) / least_deviation);
  }
  return scale;
}

OpCase augment_case(int64_t n, int64_t h, int64_t w, int64_t c, const Options& o,
                    int64_t images = 11) {
  OpCase op{.operation = "augment",
            .name = str(n, "x", h, "x", w, "x", c,
                        o.flip_probability > 0 ? str(" flip ", o.flip_probability) : "",
                        o.rotation_degrees > 0 ? str(" rotation ", o.rotation_degrees) : "",
                        o.crop_padding > 0 ? str(" crop ", o.crop_padding) : "")};
  op.operands = {
      {.name = "images", .shape = {images, h, w, c}, .values = below(256), .element = Element::u8},
      {.name = "labels", .shape = {images}, .values = below(1000), .element = Element::i32},
      {.name = "indices", .shape = {n}, .values = below(images), .element = Element::i64},
      {.name = "epoch", .shape = {1}, .values = constant(2), .element = Element::i32},
      {.name = "mean", .shape = {c}, .values = normal(0.5, 0.02), .element = Element::f32},
      {.name = "deviation", .shape = {c}, .values = normal(0.25, 0.01), .element = Element::f32},
      {.name = "y",
       .shape = {n, h, w, c},
       .role = Role::output,
       .tolerance = {.kernel = 1},
       .element = Element::f32},
      {.name = "y_labels", .shape = {n}, .role = Role::output, .element = Element::i32}};
  set_kernel<cpu::augment, cpu::augment, reference::augment, cuda::augment, cuda::augment>(
      op, [=](auto, const Operands& operands) {
        return Augment{.images = operands.get<uint8_t>("images"),
                       .labels = operands.get<int32_t>("labels"),
                       .indices = operands.get<int64_t>("indices"),
                       .y = operands.get<float>("y"),
                       .y_labels = operands.get<int32_t>("y_labels"),
                       .n = n,
                       .h = h,
                       .w = w,
                       .c = c,
                       .mean = operands.get<float>("mean"),
                       .deviation = operands.get<float>("deviation"),
                       .flip_probability = o.flip_probability,
                       .rotation_degrees = o.rotation_degrees,
                       .crop_padding = o.crop_padding,
                       .seed = 77,
                       .epoch = operands.get<uint32_t>("epoch")};
      });
  op.magnitude = [=](const Operands& before, const Operands& wanted) {
    return error_scale(h, w, o.rotation_degrees > 0, before, wanted);
  };
  op.bytes = 5.0 * static_cast<double>(n * h * w * c);
  return op;
}

}  // namespace

std::vector<OpCase> augment_cases() {
  std::vector<OpCase> cases;
  const Options kinds[] = {{},
                           {.flip_probability = 0.5},
                           {.rotation_degrees = 10},
                           {.rotation_degrees = 20},
                           {.flip_probability = 0.5, .rotation_degrees = 180},
                           {.crop_padding = 4},
                           {.flip_probability = 0.5, .crop_padding = 4},
                           {.crop_padding = 40},
                           {.flip_probability = 0.5, .rotation_degrees = 10, .crop_padding = 2}};
  for (const Options& o : kinds) {
    cases.push_back(augment_case(1, 1, 1, 1, o));
    cases.push_back(augment_case(5, 7, 9, 3, o));
    cases.push_back(augment_case(33, 28, 28, 1, o));
    cases.push_back(augment_case(3, 33, 31, 4, o));
    cases.push_back(augment_case(65, 32, 32, 3, o));
  }
  for (const int64_t n : {64, 512}) {
    for (const Options& o : {Options{}, Options{.flip_probability = 0.5, .rotation_degrees = 10},
                             Options{.flip_probability = 0.5, .crop_padding = 4}}) {
      cases.push_back(augment_case(n, 28, 28, 1, o, 4096));
      cases.back().benchmark = true;
      cases.push_back(augment_case(n, 32, 32, 3, o, 4096));
      cases.back().benchmark = true;
    }
  }
  return cases;
}

}  // namespace flyball::testing
