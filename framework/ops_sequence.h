#pragma once

#include "framework/ops.h"
#include "kernels/sequence_pool.h"

namespace flyball {

// Differentiable operations on sequences, laid out [time, batch, ...]. `lengths` is [batch] i32 on
// the operation's device, or undefined where every sequence has all steps. What lies past a length
// is not read, and a result is 0 there: longer padding gives the same bits.

struct EmbeddingOptions {
  int64_t padding = -1;  // this token gives 0 and trains nothing; -1: none
  int64_t frozen = 0;    // the first so many rows are not trained
};
// y[...,d] = table[tokens[...],d]; table [rows,d], tokens of up to 3 axes, i32. Throws Error for a
// token outside the table where the tokens are in host memory; on a device it counts as padding.
Variable embedding(const Context&, const Tensor& tokens, const Variable& table,
                   const EmbeddingOptions& options = {});

// Of one layer; directions is 1 or 2.
struct LstmWeights {
  Variable w_ih, w_hh;  // [directions, 4 d, inputs], [directions, 4 d, d]; gates i, f, g, o
  Variable b_ih, b_hh;  // [directions, 4 d], or undefined
};
// x [time,batch,inputs] -> y [time,batch,directions*d]; see kernels/lstm.h
Variable lstm(const Context&, const Variable& x, const Tensor& lengths, const LstmWeights& weights);

// x [time,batch,c] -> y [batch,c]. backward_columns: of kLast, the last so many columns ran
// backwards in time, so that their last step is step 0.
Variable sequence_pool(const Context&, const Variable& x, const Tensor& lengths, SequencePool kind,
                       int64_t backward_columns = 0);

}  // namespace flyball
