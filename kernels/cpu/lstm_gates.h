#pragma once

#include <cstdint>

namespace flyball::cpu {

// One sequence's step. gates: [4 d], i, f, g, o. Null c_before, c_next, dh_next: zeros.
template <class T>
struct LstmCellForward {
  T* gates = nullptr;  // z before, the activated gates after
  const T* c_before = nullptr;
  T* c = nullptr;
  T* y = nullptr;
  T* y_copy = nullptr;  // for the next step; may be null
};

template <class T>
struct LstmCellBackward {
  T* gates = nullptr;  // activated before, dz after
  const T* c_before = nullptr;
  const T* c = nullptr;
  const T* dy = nullptr;
  const T* dh_next = nullptr;  // what the step after sends to y
  T* dc = nullptr;             // what the step after sends to c before, what this sends after
  bool last = false;           // there is no step after: dc and dh_next are not read
};

template <class T>
void lstm_cell_forward(const LstmCellForward<T>& cell, int64_t d);
template <class T>
void lstm_cell_backward(const LstmCellBackward<T>& cell, int64_t d);

}  // namespace flyball::cpu
