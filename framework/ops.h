#pragma once

#include <cstdint>

#include "framework/autograd.h"
#include "framework/precision.h"
#include "framework/stream.h"

namespace flyball {

// What an operation runs with.
struct Context {
  const Stream& stream;
  bool training = false;
  uint64_t seed = 0;  // of dropout masks
  const int64_t* step =
      nullptr;  // device memory: the optimizer's step counter, which changes the masks
  Precision precision = Precision::fp32;
  // Batch norms' results are computed again in the backward pass rather than kept for it: the same
  // numbers in less memory.
  bool recompute = false;
};

// Differentiable operations. Each checks shapes and throws Error "operation: tensor has shape got,
// expected ..." before it allocates. f32, f64 and, on CUDA, bf16; all operands of one dtype.
// matmul, linear and conv2d obey context.precision. In bf16 they take f32 and bf16 operands, round
// the f32 ones to bf16 first, and give bf16; weight, filters and bias stay f32, and so do their
// gradients, which no rounding to bf16 lies before but that of the operands.

// y[m,n] = a[m,k] b[k,n]
Variable matmul(const Context&, const Variable& a, const Variable& b);

// y[m,n] = relu?(x[m,k] weight[n,k]^T + bias[n]); bias may be undefined
Variable linear(const Context&, const Variable& x, const Variable& weight, const Variable& bias,
                bool relu = false);

struct Conv2dOptions {
  int64_t stride = 1, padding = 0;
  bool relu = false;
};
// x [n,h,w,c], filters [k,r,s,c], bias [k] or undefined -> y [n,p,q,k]; see kernels/conv2d.h
Variable conv2d(const Context&, const Variable& x, const Variable& filters, const Variable& bias,
                const Conv2dOptions& options = {});

// column_sums: where given, gets what Conv2dForward::column_sums holds, for the batch norm of y.
Variable conv2d(const Context&, const Variable& x, const Variable& filters, const Variable& bias,
                const Conv2dOptions& options, Tensor* column_sums);

// What evaluation normalises with; [channels], f32 beside bf16.
struct RunningStatistics {
  Tensor mean, var;
};

struct BatchNormOptions {
  double eps = 1e-5, momentum = 0.1;
  bool relu = false;
  Variable residual{};   // of x's shape and dtype, added before the ReLU; undefined: none
  Tensor column_sums{};  // what conv2d gave beside x; undefined: x is read for its statistics
};
// y = relu?(gamma * (x - mean) / sqrt(var + eps) + beta + residual?) over the rows of x [..., c];
// see kernels/batch_norm.h. gamma, beta [c], f32 beside bf16. In training the mean and variance are
// the batch's, of at least 2 rows, and `running` follows them; otherwise they are `running`'s, and
// no gradient flows back.
Variable batch_norm(const Context&, const Variable& x, const Variable& gamma, const Variable& beta,
                    RunningStatistics& running, const BatchNormOptions& options = {});

struct Pool2dOptions {
  int64_t window = 2, stride = 2, padding = 0;
  bool relu = false;  // max pooling only: the maximum of relu(x)
};
Variable max_pool2d(const Context&, const Variable& x, const Pool2dOptions& options = {});
Variable average_pool2d(const Context&, const Variable& x, const Pool2dOptions& options = {});
Variable global_average_pool(const Context&, const Variable& x);  // [n,h,w,c] -> [n,c]

// x in another dtype: f32 and bf16, f32 and f64. Its gradient goes back in x's.
Variable cast(const Context&, const Variable& x, DType dtype);

Variable relu(const Context&, const Variable& x);
Variable add(const Context&, const Variable& a, const Variable& b);       // same shape
Variable multiply(const Context&, const Variable& a, const Variable& b);  // same shape
Variable scale(const Context&, const Variable& x, double alpha);
Variable sum(const Context&, const Variable& x);   // -> [1]
Variable mean(const Context&, const Variable& x);  // -> [1]
Variable reshape(const Variable& x, const Shape& shape);
Variable flatten(const Variable& x);                    // [n, ...] -> [n, rest]
Variable transpose(const Context&, const Variable& x);  // [m,n] -> [n,m]

// Zeroes elements with `probability` and scales the rest by 1 / (1 - probability) in training; the
// identity otherwise. `layer` keeps the masks of a network's dropouts apart.
Variable dropout(const Context&, const Variable& x, double probability, uint32_t layer);

struct CrossEntropy {
  Variable loss;   // [1], mean over the batch
  Tensor correct;  // [1] i32, number of right answers
};
// logits [n,classes], of bf16 taken in f32; labels [n] i32
CrossEntropy softmax_cross_entropy(const Context&, const Variable& logits, const Tensor& labels,
                                   double label_smoothing = 0);

}  // namespace flyball
