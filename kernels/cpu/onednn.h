#pragma once

// The oneDNN side of gemm and conv2d, defined only where FLYBALL_HAVE_ONEDNN is 1. Every call runs
// single-threaded on the calling thread or in our own pool, because oneDNN's OpenMP team would spin
// between calls.
#ifndef FLYBALL_HAVE_ONEDNN
#define FLYBALL_HAVE_ONEDNN 0
#endif

#include "kernels/conv2d.h"
#include "kernels/cpu/matrix_product.h"

namespace flyball::cpu::onednn {

// Makes OpenMP regions entered by the calling thread run on it alone.
void use_one_thread();

// m, n and k are at least 1.
void multiply(const MatrixProduct<float>&);

// False, with nothing written, for a shape that oneDNN has only its slow reference code for.
// n, p, q, k and c are at least 1.
bool conv2d_forward(const Conv2dForward<float>&);
bool conv2d_backward_data(const Conv2dBackwardData<float>&);
bool conv2d_backward_weights(const Conv2dBackwardWeights<float>&);

}  // namespace flyball::cpu::onednn
