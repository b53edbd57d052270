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
    run<cpu::batch_norm_apply<T>, cuda::batch_norm_apply<T>>(
        context.stream, BatchNormApply<T>{.x = x.value().data<T>(),
                                          .gamma = gamma.value().data<A>(),
                                          .beta = beta.value().data<A>(),
                                          .residual = data_or_null<T>(options.residual),
                                          .mean = running.mean.data<A>(),
                                          .var = running.var.data<A>(),
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
  SavedTensor x, gamma, mean, inv_std;
  bool relu = false, residual = false;
  SavedTensor beta;
  SavedTensor y;  // with ReLU and a residual, whose sum it alone tells
};

// y once more, where all that takes is kept anyway; null elsewhere. `saved` is complete but for y.
std::shared_ptr<Recomputed> computed_again(const Context& context, const Extent& extent,
                                           const Saved& saved, const Variable& residual) {
  const bool keeps_more = residual.defined() && residual.recomputed() == nullptr;
  if (!context.recompute || !gradients_enabled() || keeps_more) return nullptr;
  const auto again = [saved, extent, residual = residual.recomputed()](const Stream& stream) {
    const Tensor x = saved.x.get(stream);
    Tensor y = Tensor::empty(stream, x.shape(), x.dtype());
    dispatch_float(x.dtype(), "batch_norm", [&](auto zero) {
      using T = decltype(zero);
      using A = Accumulator<T>;
      run<cpu::batch_norm_apply<T>, cuda::batch_norm_apply<T>>(
          stream,
          BatchNormApply<T>{.x = x.data<T>(),
                            .gamma = saved.gamma.get(stream).data<A>(),
                            .beta = saved.beta.get(stream).data<A>(),
                            .residual = residual ? residual->get(stream).data<T>() : nullptr,
                            .mean = saved.mean.get(stream).data<A>(),
                            .inv_std = saved.inv_std.get(stream).data<A>(),
                            .y = y.mutable_data<T>(),
                            .rows = extent.rows,
                            .c = extent.c,
                            .relu = saved.relu});
    });
    return y;
  };
  return std::make_shared<Recomputed>(again);
}

template <class T>
T* memory_of(GradientTarget& target) {
  return target.tensor.defined() ? target.tensor.mutable_data<T>() : nullptr;
}

template <class T>
void send_back(const Saved& saved, const Extent& extent, Gradients& gradients) {
  using A = Accumulator<T>;
  const Stream& stream = gradients.stream();
  const Tensor dy = gradients.dy();
  GradientTarget dx, dgamma, dbeta, dresidual;
  if (gradients.wants(0)) dx = gradients.target(0);
  if (gradients.wants(1)) dgamma = gradients.target(1);
  if (gradients.wants(2)) dbeta = gradients.target(2);
  if (saved.relu && gradients.wants(3)) dresidual = gradients.target(3);
  const bool by_y = saved.relu && saved.residual, by_x = saved.relu && !saved.residual;
  BatchNormBackward<T> backward{.x = saved.x.get(stream).template data<T>(),
                                .y = by_y ? saved.y.get(stream).template data<T>() : nullptr,
                                .dy = dy.data<T>(),
                                .gamma = saved.gamma.get(stream).template data<A>(),
                                .beta = by_x ? saved.beta.get(stream).template data<A>() : nullptr,
                                .mean = saved.mean.get(stream).template data<A>(),
                                .inv_std = saved.inv_std.get(stream).template data<A>(),
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
    run<cpu::batch_norm_backward<T>, cuda::batch_norm_backward<T>>(stream, backward);
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
  if (!saved.relu && gradients.wants(3)) gradients.pass(3, dy);
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
  Saved saved{.x = SavedTensor(x, "batch_norm: x"),
              .gamma = SavedTensor(gamma, "batch_norm: gamma"),
              .mean = SavedTensor(mean, "batch_norm: mean"),
              .inv_std = SavedTensor(inv_std, "batch_norm: inv_std"),
              .relu = options.relu,
              .residual = options.residual.defined(),
              .beta = SavedTensor(beta, "batch_norm: beta"),
              .y = {}};
  const auto again = computed_again(context, extent, saved, options.residual);
  if (saved.relu && saved.residual) {
    saved.y = again != nullptr ? SavedTensor(again) : SavedTensor(y, "batch_norm: y");
  }
  Variable result = Variable::result(
      y, "batch_norm", {&x, &gamma, &beta, &options.residual},
      [extent, saved](Gradients& gradients) {
        dispatch_float(gradients.dy().dtype(), "batch_norm",
                       [&](auto zero) { send_back<decltype(zero)>(saved, extent, gradients); });
      });
  if (result.requires_gradient()) result.set_recomputed(again);
  return result;
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
