#include "framework/check.h"
#include "framework/ops.h"
#include "framework/run.h"
#include "kernels/elementwise.h"
#include "kernels/softmax_cross_entropy.h"

namespace flyball {

CrossEntropy softmax_cross_entropy(const Context& context, const Variable& logits,
                                   const Tensor& labels, double label_smoothing) {
  check_float("softmax_cross_entropy: logits", logits);
  if (logits.dtype() == DType::bf16) {
    const Variable wide = cast(context, logits, DType::f32);
    return softmax_cross_entropy(context, wide, labels, label_smoothing);
  }
  check_rank("softmax_cross_entropy: logits", logits.shape(), 2);
  const int64_t rows = logits.shape()[0], classes = logits.shape()[1];
  if (rows < 1 || classes < 1) {
    throw Error(str("softmax_cross_entropy: logits has shape ", logits.shape(),
                    ", expected at least [1,1]"));
  }
  check_shape("softmax_cross_entropy: labels", labels.shape(), {rows}, "rows of logits");
  check_dtype("softmax_cross_entropy: labels", labels.dtype(), DType::i32);
  if (!(label_smoothing >= 0 && label_smoothing < 1)) {
    throw Error(str("softmax_cross_entropy: label_smoothing is ", label_smoothing,
                    ", expected 0 <= value < 1"));
  }
  const Stream& stream = context.stream;
  Tensor loss = Tensor::empty(stream, {1}, logits.dtype());
  Tensor correct = Tensor::empty(stream, {1}, DType::i32);
  Tensor dlogits;
  if (logits.requires_gradient() && gradients_enabled()) {
    dlogits = Tensor::empty(stream, logits.shape(), logits.dtype());
  }
  dispatch_real(logits.dtype(), "softmax_cross_entropy", [&](auto zero) {
    using T = decltype(zero);
    run<cpu::softmax_cross_entropy<T>, cuda::softmax_cross_entropy<T>>(
        stream,
        SoftmaxCrossEntropy<T>{.logits = logits.value().data<T>(),
                               .labels = labels.data<int32_t>(),
                               .loss = loss.mutable_data<T>(),
                               .correct = correct.mutable_data<int32_t>(),
                               .dlogits = dlogits.defined() ? dlogits.mutable_data<T>() : nullptr,
                               .rows = rows,
                               .classes = classes,
                               .label_smoothing = label_smoothing});
  });
  Variable result =
      Variable::result(loss, "softmax_cross_entropy", {&logits}, [dlogits](Gradients& gradients) {
        if (gradients.dy_is_one()) return gradients.pass(0, dlogits);
        dispatch_real(dlogits.dtype(), "softmax_cross_entropy", [&](auto zero) {
          using T = decltype(zero);
          GradientTarget dx = gradients.target(0);
          run<cpu::scale<T>, cuda::scale<T>>(gradients.stream(),
                                             Scale<T>{.x = dlogits.data<T>(),
                                                      .y = dx.tensor.mutable_data<T>(),
                                                      .alpha_pointer = gradients.dy().data<T>(),
                                                      .count = dlogits.count(),
                                                      .accumulate = dx.accumulate});
        });
      });
  return {result, correct};
}

}  // namespace flyball
