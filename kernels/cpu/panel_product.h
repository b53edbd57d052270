#pragma once

#include <cstdint>

namespace flyball::cpu {

// A matrix product whose operands already lie in the order in which registers take them:
//   slices of [rows, columns]: [columns / 16 rounded up][rows][16], 64-byte lines;
//   panels of [rows, columns]: [columns / P rounded up][rows][P], P the panel width of the
//                              instruction set.
// What lies beyond the last column is read and has no effect on the columns that are there.
inline constexpr int64_t kSliceWidth = 16;

// c (+)= op(a) b for one panel of b. op(a): [m, depth], from the slices of a or, transposed, of its
// transpose; b: [depth, P], c: [m, P], each one panel, of which `columns` are there. Each element
// is one sum in the order of depth, added to c as a whole.
struct PanelProduct {
  const float* a = nullptr;
  int64_t slice_stride = 0;  // between slices of a
  const float* b = nullptr;
  float* c = nullptr;
  int64_t m = 0, depth = 0, columns = 0;
  bool transpose_a = false;
  bool accumulate = false;
};

}  // namespace flyball::cpu
