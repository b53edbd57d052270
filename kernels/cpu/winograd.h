#pragma once

#include "kernels/conv2d.h"

// Convolutions of 3x3 filters at stride 1 by Winograd's minimal filtering F(4x4, 3x3): 36 products
// for 16 outputs instead of 144 (Lavin & Gray 2015, arXiv:1509.09308). For each 4x4 tile of y, the
// 6x6 patch d of x that it is made of, and filters g, with . the product element by element:
//   y  = A^T [sum over c of (G g G^T) . (B^T d B)] A
//   dx = the same of dy, with the filters turned by 180 degrees, c and k changed, padding 2 -
//   padding dg = G^T [sum over tiles of (A dy A^T) . (B^T d B)] G
// The sums are 36 matrix products over the channels, or over the tiles. They are cut by shape and
// instruction set alone: the same bits for every number of threads.
namespace flyball::cpu::winograd {

// Whether the call is made this way, by winograd_use() and its shape.
bool applies(const Conv2dForward<float>&);
bool applies(const Conv2dBackwardData<float>&);
bool applies(const Conv2dBackwardWeights<float>&);

// Where it could be. column_sums are left to the caller.
void conv2d_forward(const Conv2dForward<float>&);
void conv2d_backward_data(const Conv2dBackwardData<float>&);
void conv2d_backward_weights(const Conv2dBackwardWeights<float>&);

}  // namespace flyball::cpu::winograd
