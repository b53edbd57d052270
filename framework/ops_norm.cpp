#include "framework/check.h"
#include "framework/ops.h"
#include "framework/run.h"
#include "kernels/batch_norm.h"

namespace flyball {
namespace {

struct Extent {
  int64_t rows = 0, c = 0;
};

Extent checked_extent(const Context& context, const Variable& x, const Variable& gamma,
                      const Variable& beta, const RunningStatistics& running,
                      const BatchNormOptions& options) {
  check_float("batch_norm: x", x);
  const Shape& shape = x.shape();
  if (shape.rank() < 2) {
    throw Error(str("batch_norm: x has shape ", shape, ", expected at least 2 axes"));
  }
  const int64_t c = shape[shape.rank() - 1];
  const Extent extent{c == 0 ? 0 : shape.count() / c, c};
  if (context.training && extent.rows < 2) {
    throw Error(str("batch_norm: x has shape ", shape,
                    ", expected at least 2 values of each channel in training"));
  }
  const auto check_parameter_of = [&](const char* what, const Shape& got, DType dtype) {
    check_shape(what, got, {c}, "channels of x");
    check_parameter(what, dtype, x.dtype());
  };
  check_parameter_of("batch_norm: gamma", gamma.shape(), gamma.dtype());
  check_parameter_of("batch_norm: beta", beta.shape(), beta.dtype());
  check_parameter_of("batch_norm: running mean", running.mean.shape(), running.mean.dtype());
  check_parameter_of("batch_norm: running variance", running.var.shape(), running.var.dtype());
  if (options.residual.defined()) {
    check_shape("batch_norm: residual", options.residual.shape(), shape, "shape of x");
    check_dtype("batch_norm: residual", options.residual.dtype(), x.dtype());
  }
  if (options.column_sums.defined()) {
    const int64_t tiles = (extent.rows + kColumnSumRows - 1) / kColumnSumRows;
    check_shape("batch_norm: column sums", options.column_sums.shape(), {tiles, 2, c},
                "sums of tiles of rows of x");
    check_parameter("batch_norm: column sums", options.column_sums.dtype(), x.dtype());
  }
  return extent;
}

template <class T>
const T* data_or_null(const Tensor& x) {
  return x.defined() ? x.data<T>() : nullptr;
}

Variable evaluated(const Context& context, const Extent& extent, const Variable& x,
                   const Variable& gamma, const Variable& beta, const RunningStatistics& running,
                   const BatchNormOptions& options) {
  Tensor y = Tensor::empty(context.stream, x.shape(), x.dtype());
  dispatch_float(x.dtype(), "batch_norm", [&](auto zero) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    run<cpu::batch_norm_evaluation<T>, cuda::batch_norm_evaluation<T>>(
        context.stream, BatchNormEvaluation<T>{.x = x.value().data<T>(),
                                               .gamma = gamma.value().data<A>(),
                                               .beta = beta.value().data<A>(),
                                               .residual = data_or_null<T>(options.residual),
                                               .running_mean = running.mean.data<A>(),
                                               .running_var = running.var.data<A>(),
                                               .y = y.mutable_data<T>(),
                                               .rows = extent.rows,
                                               .c = extent.c,
                                               .eps = options.eps,
                                               .relu = options.relu});
  });
  return Variable::result(y, "batch_norm", {&x, &gamma, &beta, &options.residual},
                          [](Gradients&) -> void {
                            throw Error(
                                "batch_norm: a gradient flows back through evaluation, expected "
                                "training");
                          });
}

// What the way back needs.
struct Saved {
  SavedTensor x, gamma, mean, inv_std, y;  // y: with ReLU
};

template <class T>
T* memory_of(GradientTarget& target) {
  return target.tensor.defined() ? target.tensor.mutable_data<T>() : nullptr;
}

template <class T>
void send_back(const Saved& saved, const Extent& extent, bool relu, Gradients& gradients) {
  using A = Accumulator<T>;
  const Tensor dy = gradients.dy();
  GradientTarget dx, dgamma, dbeta, dresidual;
  if (gradients.wants(0)) dx = gradients.target(0);
  if (gradients.wants(1)) dgamma = gradients.target(1);
  if (gradients.wants(2)) dbeta = gradients.target(2);
  if (relu && gradients.wants(3)) dresidual = gradients.target(3);
  BatchNormBackward<T> backward{.x = saved.x.get().template data<T>(),
                                .y = relu ? saved.y.get().template data<T>() : nullptr,
                                .dy = dy.data<T>(),
                                .gamma = saved.gamma.get().template data<A>(),
                                .mean = saved.mean.get().template data<A>(),
                                .inv_std = saved.inv_std.get().template data<A>(),
                                .dx = memory_of<T>(dx),
                                .dgamma = memory_of<A>(dgamma),
                                .dbeta = memory_of<A>(dbeta),
                                .dresidual = memory_of<T>(dresidual),
                                .rows = extent.rows,
                                .c = extent.c,
                                .accumulate_dx = dx.accumulate,
                                .accumulate_dgamma = dgamma.accumulate,
                                .accumulate_dbeta = dbeta.accumulate,
                                .accumulate_dresidual = dresidual.accumulate};
  const auto enqueue = [&] {
    run<cpu::batch_norm_backward<T>, cuda::batch_norm_backward<T>>(gradients.stream(), backward);
  };
  if (backward.dx != nullptr && backward.dx == backward.dresidual) {
    // x is the residual too: one gradient after the other.
    backward.dresidual = nullptr;
    enqueue();
    backward.dresidual = backward.dx;
    backward.dx = nullptr;
    backward.dgamma = backward.dbeta = nullptr;
  }
  enqueue();
  if (!relu && gradients.wants(3)) gradients.pass(3, dy);
}

Variable trained(const Context& context, const Extent& extent, const Variable& x,
                 const Variable& gamma, const Variable& beta, RunningStatistics& running,
                 const BatchNormOptions& options) {
  Tensor y = Tensor::empty(context.stream, x.shape(), x.dtype());
  Tensor mean = Tensor::empty(context.stream, {extent.c}, gamma.dtype());
  Tensor inv_std = Tensor::empty(context.stream, {extent.c}, gamma.dtype());
  dispatch_float(x.dtype(), "batch_norm", [&](auto zero) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    run<cpu::batch_norm_forward<T>, cuda::batch_norm_forward<T>>(
        context.stream, BatchNormForward<T>{.x = x.value().data<T>(),
                                            .gamma = gamma.value().data<A>(),
                                            .beta = beta.value().data<A>(),
                                            .residual = data_or_null<T>(options.residual),
                                            .column_sums = data_or_null<A>(options.column_sums),
                                            .y = y.mutable_data<T>(),
                                            .mean = mean.mutable_data<A>(),
                                            .inv_std = inv_std.mutable_data<A>(),
                                            .running_mean = running.mean.mutable_data<A>(),
                                            .running_var = running.var.mutable_data<A>(),
                                            .rows = extent.rows,
                                            .c = extent.c,
                                            .eps = options.eps,
                                            .momentum = options.momentum,
                                            .relu = options.relu});
  });
  return Variable::result(y, "batch_norm", {&x, &gamma, &beta, &options.residual},
                          [extent, relu = options.relu,
                           saved = Saved{.x = SavedTensor(x.value(), "batch_norm: x"),
                                         .gamma = SavedTensor(gamma.value(), "batch_norm: gamma"),
                                         .mean = SavedTensor(mean, "batch_norm: mean"),
                                         .inv_std = SavedTensor(inv_std, "batch_norm: inv_std"),
                                         .y = options.relu ? SavedTensor(y, "batch_norm: y")
                                                           : SavedTensor()}](Gradients& gradients) {
                            dispatch_float(gradients.dy().dtype(), "batch_norm", [&](auto zero) {
                              send_back<decltype(zero)>(saved, extent, relu, gradients);
                            });
                          });
}

}  // namespace

Variable batch_norm(const Context& context, const Variable& x, const Variable& gamma,
                    const Variable& beta, RunningStatistics& running,
                    const BatchNormOptions& options) {
  const Extent extent = checked_extent(context, x, gamma, beta, running, options);
  return context.training ? trained(context, extent, x, gamma, beta, running, options)
                          : evaluated(context, extent, x, gamma, beta, running, options);
}

}  // namespace flyball
