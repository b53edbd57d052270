#pragma once

#include "kernels/conv2d.h"
#include "tests/op_cases.h"

namespace flyball::testing {

// Gives a case of conv2d the tolerance of Winograd's F(4x4, 3x3) in place of a plain sum's.
void expect_winograd(OpCase& op, const Conv2dShape& d);

}  // namespace flyball::testing
