#include "framework/check.h"
#include "framework/ops.h"
#include "framework/run.h"
#include "kernels/copy.h"
#include "kernels/dropout.h"
#include "kernels/elementwise.h"
#include "kernels/reduce.h"

namespace flyball {

Variable cast(const Context& context, const Variable& x, DType dtype) {
  if (dtype == x.dtype()) return x;
  return Variable::result(x.value().cast(context.stream, dtype), "cast", {&x},
                          [from = x.dtype()](Gradients& gradients) {
                            const Stream& stream = gradients.stream();
                            gradients.pass(0, gradients.dy().cast(stream, from));
                          });
}

Variable relu(const Context& context, const Variable& x) {
  check_float("relu: x", x);
  Tensor y = Tensor::empty(context.stream, x.shape(), x.dtype());
  dispatch_float(x.dtype(), "relu", [&](auto zero) {
    using T = decltype(zero);
    run<cpu::relu_forward<T>, cuda::relu_forward<T>>(
        context.stream,
        ReluForward<T>{.x = x.value().data<T>(), .y = y.mutable_data<T>(), .count = y.count()});
  });
  return Variable::result(y, "relu", {&x}, [y = SavedTensor(y, "relu: y")](Gradients& gradients) {
    dispatch_float(y.get(gradients.stream()).dtype(), "relu", [&](auto zero) {
      using T = decltype(zero);
      GradientTarget dx = gradients.target(0);
      run<cpu::relu_backward<T>, cuda::relu_backward<T>>(
          gradients.stream(), ReluBackward<T>{.y = y.get(gradients.stream()).data<T>(),
                                              .dy = gradients.dy().data<T>(),
                                              .dx = dx.tensor.mutable_data<T>(),
                                              .count = dx.tensor.count(),
                                              .accumulate = dx.accumulate});
    });
  });
}

Variable add(const Context& context, const Variable& a, const Variable& b) {
  check_float("add: a", a);
  check_shape("add: b", b.shape(), a.shape(), "shape of a");
  check_dtype("add: b", b.dtype(), a.dtype());
  Tensor y = Tensor::empty(context.stream, a.shape(), a.dtype());
  dispatch_float(a.dtype(), "add", [&](auto zero) {
    using T = decltype(zero);
    run<cpu::add<T>, cuda::add<T>>(context.stream, Add<T>{.a = a.value().data<T>(),
                                                          .b = b.value().data<T>(),
                                                          .y = y.mutable_data<T>(),
                                                          .count = y.count()});
  });
  return Variable::result(y, "add", {&a, &b}, [](Gradients& gradients) {
    for (size_t input : {size_t{0}, size_t{1}}) {
      if (gradients.wants(input)) gradients.pass(input, gradients.dy());
    }
  });
}

Variable multiply(const Context& context, const Variable& a, const Variable& b) {
  check_float("multiply: a", a);
  check_shape("multiply: b", b.shape(), a.shape(), "shape of a");
  check_dtype("multiply: b", b.dtype(), a.dtype());
  Tensor y = Tensor::empty(context.stream, a.shape(), a.dtype());
  dispatch_float(a.dtype(), "multiply", [&](auto zero) {
    using T = decltype(zero);
    run<cpu::multiply<T>, cuda::multiply<T>>(context.stream, Multiply<T>{.a = a.value().data<T>(),
                                                                         .b = b.value().data<T>(),
                                                                         .y = y.mutable_data<T>(),
                                                                         .count = y.count()});
  });
  return Variable::result(
      y, "multiply", {&a, &b},
      [a = SavedTensor(a, "multiply: a"), b = SavedTensor(b, "multiply: b")](Gradients& gradients) {
        for (size_t input : {size_t{0}, size_t{1}}) {
          if (!gradients.wants(input)) continue;
          const Tensor& other = input == 0 ? b.get(gradients.stream()) : a.get(gradients.stream());
          dispatch_float(other.dtype(), "multiply", [&](auto zero) {
            using T = decltype(zero);
            GradientTarget target = gradients.target(input);
            run<cpu::multiply<T>, cuda::multiply<T>>(
                gradients.stream(), Multiply<T>{.a = gradients.dy().data<T>(),
                                                .b = other.data<T>(),
                                                .y = target.tensor.mutable_data<T>(),
                                                .count = other.count(),
                                                .accumulate = target.accumulate});
          });
        }
      });
}

namespace {

template <class T>
void scale_into(const Stream& stream, const Tensor& x, GradientTarget target, double alpha) {
  run<cpu::scale<T>, cuda::scale<T>>(stream, Scale<T>{.x = x.data<T>(),
                                                      .y = target.tensor.mutable_data<T>(),
                                                      .alpha = static_cast<Accumulator<T>>(alpha),
                                                      .count = x.count(),
                                                      .accumulate = target.accumulate});
}

}  // namespace

Variable scale(const Context& context, const Variable& x, double alpha) {
  check_float("scale: x", x);
  Tensor y = Tensor::empty(context.stream, x.shape(), x.dtype());
  dispatch_float(x.dtype(), "scale", [&](auto zero) {
    scale_into<decltype(zero)>(context.stream, x.value(), {y, false}, alpha);
  });
  return Variable::result(y, "scale", {&x}, [alpha](Gradients& gradients) {
    dispatch_float(gradients.dy().dtype(), "scale", [&](auto zero) {
      scale_into<decltype(zero)>(gradients.stream(), gradients.dy(), gradients.target(0), alpha);
    });
  });
}

namespace {

// y = alpha * sum of x; dx = alpha * dy for every element.
Variable scaled_sum(const Context& context, const Variable& x, double alpha,
                    const char* operation) {
  check_float(operation, x);
  Tensor y = Tensor::empty(context.stream, {1}, x.dtype());
  dispatch_float(x.dtype(), operation, [&](auto zero) {
    using T = decltype(zero);
    run<cpu::reduce_sum<T>, cuda::reduce_sum<T>>(context.stream,
                                                 ReduceSum<T>{.x = x.value().data<T>(),
                                                              .y = y.mutable_data<T>(),
                                                              .count = x.value().count(),
                                                              .alpha = alpha});
  });
  return Variable::result(y, operation, {&x}, [alpha, operation](Gradients& gradients) {
    dispatch_float(gradients.dy().dtype(), operation, [&](auto zero) {
      using T = decltype(zero);
      GradientTarget dx = gradients.target(0);
      run<cpu::fill<T>, cuda::fill<T>>(gradients.stream(),
                                       Fill<T>{.x = dx.tensor.mutable_data<T>(),
                                               .value = static_cast<Accumulator<T>>(alpha),
                                               .factor = gradients.dy().data<T>(),
                                               .count = dx.tensor.count(),
                                               .accumulate = dx.accumulate});
    });
  });
}

}  // namespace

Variable sum(const Context& context, const Variable& x) { return scaled_sum(context, x, 1, "sum"); }

Variable mean(const Context& context, const Variable& x) {
  if (x.value().count() == 0)
    throw Error(str("mean: x has shape ", x.shape(), ", expected elements"));
  return scaled_sum(context, x, 1.0 / static_cast<double>(x.value().count()), "mean");
}

Variable reshape(const Variable& x, const Shape& shape) {
  return Variable::result(x.value().reshape(shape), "reshape", {&x},
                          [](Gradients& gradients) { gradients.pass(0, gradients.dy()); });
}

Variable flatten(const Variable& x) {
  if (x.shape().rank() < 1)
    throw Error(str("flatten: x has shape ", x.shape(), ", expected an axis"));
  const int64_t rows = x.shape()[0];
  return reshape(x, {rows, rows == 0 ? 0 : x.value().count() / rows});
}

Variable transpose(const Context& context, const Variable& x) {
  check_float("transpose: x", x);
  check_rank("transpose: x", x.shape(), 2);
  const int64_t rows = x.shape()[0], columns = x.shape()[1];
  const auto transposed = [](const Stream& stream, const Tensor& from, int64_t m, int64_t n) {
    Tensor to = Tensor::empty(stream, {n, m}, from.dtype());
    dispatch_float(from.dtype(), "transpose", [&](auto zero) {
      using T = decltype(zero);
      run<cpu::transpose<T>, cuda::transpose<T>>(
          stream,
          Transpose<T>{.x = from.data<T>(), .y = to.mutable_data<T>(), .rows = m, .columns = n});
    });
    return to;
  };
  return Variable::result(transposed(context.stream, x.value(), rows, columns), "transpose", {&x},
                          [=](Gradients& gradients) {
                            gradients.pass(
                                0, transposed(gradients.stream(), gradients.dy(), columns, rows));
                          });
}

Variable dropout(const Context& context, const Variable& x, double probability, uint32_t layer) {
  if (!(probability >= 0 && probability < 1)) {
    throw Error(str("dropout: probability is ", probability, ", expected 0 <= probability < 1"));
  }
  check_float("dropout: x", x);
  if (!context.training || probability == 0) return x;
  if (context.step == nullptr) {
    throw Error("dropout: context.step is null, expected the optimizer's step counter in training");
  }
  const auto run_dropout = [probability, layer, seed = context.seed, step = context.step](
                               const Stream& stream, const Tensor& from, GradientTarget to) {
    dispatch_float(from.dtype(), "dropout", [&](auto zero) {
      using T = decltype(zero);
      run<cpu::dropout<T>, cuda::dropout<T>>(stream,
                                             InvertedDropout<T>{.x = from.data<T>(),
                                                                .y = to.tensor.mutable_data<T>(),
                                                                .count = from.count(),
                                                                .probability = probability,
                                                                .seed = seed,
                                                                .layer = layer,
                                                                .step = step,
                                                                .accumulate = to.accumulate});
    });
  };
  Tensor y = Tensor::empty(context.stream, x.shape(), x.dtype());
  run_dropout(context.stream, x.value(), {y, false});
  return Variable::result(y, "dropout", {&x}, [run_dropout](Gradients& gradients) {
    run_dropout(gradients.stream(), gradients.dy(), gradients.target(0));
  });
}

}  // namespace flyball
