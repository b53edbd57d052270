#pragma once

#include "framework/autograd.h"
#include "framework/run.h"
#include "kernels/elementwise.h"
#include "kernels/reduce.h"

namespace flyball {

// The backward pass of an epilogue y = relu?(z + bias): sends the bias its gradient (input number
// `bias_input`, where wanted) and returns dz. y: null without ReLU. dy: [rows, columns].
template <class T>
Tensor bias_relu_gradient(Gradients& gradients, const Tensor* y, size_t bias_input, int64_t rows,
                          int64_t columns) {
  GradientTarget dbias;
  if (gradients.wants(bias_input)) dbias = gradients.target(bias_input);
  using A = Accumulator<T>;
  A* dbias_data = dbias.tensor.defined() ? dbias.tensor.mutable_data<A>() : nullptr;
  if (y != nullptr) {
    Tensor dz = gradients.dy_for_overwrite();
    run<cpu::bias_relu_backward<T>, cuda::bias_relu_backward<T>>(
        gradients.stream(), BiasReluBackward<T>{.y = y->data<T>(),
                                                .dy = gradients.dy().data<T>(),
                                                .dz = dz.mutable_data<T>(),
                                                .dbias = dbias_data,
                                                .rows = rows,
                                                .columns = columns,
                                                .accumulate_dbias = dbias.accumulate});
    return dz;
  }
  if (dbias_data != nullptr) {
    run<cpu::reduce_rows<T>, cuda::reduce_rows<T>>(gradients.stream(),
                                                   ReduceRows<T>{.x = gradients.dy().data<T>(),
                                                                 .y = dbias_data,
                                                                 .rows = rows,
                                                                 .columns = columns,
                                                                 .accumulate = dbias.accumulate});
  }
  return gradients.dy();
}

}  // namespace flyball
