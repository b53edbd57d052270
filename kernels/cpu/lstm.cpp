#include "kernels/lstm.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/cpu/lstm_gates.h"
#include "kernels/cpu/matrix_product.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/scratch.h"
#include "kernels/gemm.h"
#include "kernels/reduce.h"

namespace flyball::cpu {
namespace {

// Sequences that run together, by the sizes alone: each group can be on a thread of its own.
constexpr int64_t kGroup = 64;

// The steps that exist, time-major, with the sequences in order of falling length: those that are
// running at step t are the first active[t] of them, rows first[t] .. first[t] + active[t] - 1.
struct Packing {
  std::vector<int64_t> order;   // sequences, longest first; equals stay in order
  std::vector<int64_t> active;  // by step, up to the longest length, then one 0
  std::vector<int64_t> first;
  int64_t steps = 0;
  int64_t rows = 0;
  bool whole = true;  // the rows are x's first ones

  Packing(const int32_t* lengths, const LstmShape& s) : order(static_cast<size_t>(s.batch)) {
    std::iota(order.begin(), order.end(), int64_t{0});
    const auto length = [&](int64_t b) {
      return lengths == nullptr ? s.time : std::clamp<int64_t>(lengths[b], 0, s.time);
    };
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return length(a) > length(b); });
    steps = s.batch == 0 ? 0 : length(order[0]);
    int64_t running = s.batch;
    for (int64_t t = 0; t < steps; ++t) {
      while (length(order[static_cast<size_t>(running - 1)]) <= t) --running;
      active.push_back(running);
      first.push_back(rows);
      rows += running;
      whole = whole && running == s.batch;
    }
    active.push_back(0);
    first.push_back(rows);
  }

  int64_t active_at(int64_t t) const { return t < 0 ? 0 : active[static_cast<size_t>(t)]; }
  int64_t row_at(int64_t t) const { return first[static_cast<size_t>(t)]; }
};

// Of `saved`, for one direction: rows of Packing.
template <class T>
struct Saved {
  T *gates, *cells, *before;  // [rows, 4 d], [rows, d], [rows, d]: y of the step before

  Saved(T* saved, const LstmShape& s, int64_t direction) {
    const int64_t rows = s.time * s.batch;
    gates = saved + direction * rows * 6 * s.d;
    cells = gates + rows * 4 * s.d;
    before = cells + rows * s.d;
  }
};

// One direction of one group of sequences at one step, as numbered in the order of computation.
struct Step {
  int64_t t = 0;
  int64_t rows = 0;  // running sequences of the group
  int64_t row = 0;   // the first one's row
  int64_t from = 0;  // of them, those that ran at the step before
  int64_t row_before = 0;
  int64_t to = 0;  // and those that go on to the step after
  int64_t row_after = 0;

  Step(const Packing& packing, int64_t direction, int64_t number, int64_t begin) {
    t = direction == 0 ? number : packing.steps - 1 - number;
    const int64_t before = direction == 0 ? t - 1 : t + 1;
    const int64_t after = direction == 0 ? t + 1 : t - 1;
    const auto running = [&](int64_t at) {
      return std::clamp<int64_t>(packing.active_at(at) - begin, 0, kGroup);
    };
    rows = running(t);
    row = packing.row_at(t) + begin;
    from = std::min(rows, running(before));
    to = std::min(rows, running(after));
    if (from > 0) row_before = packing.row_at(before) + begin;
    if (to > 0) row_after = packing.row_at(after) + begin;
  }
};

template <class Body>
void for_each_group(const LstmShape& s, Body body) {
  const int64_t groups = (s.batch + kGroup - 1) / kGroup;
  parallel_for(groups * s.directions,
               [&](int64_t i) { body(i % s.directions, i / s.directions * kGroup); });
}

// Calls move(row, t, b) for every row, in pieces.
template <class Move>
void for_each_row(const Packing& packing, Move move) {
  parallel_for(packing.steps, [&](int64_t t) {
    for (int64_t j = 0; j < packing.active_at(t); ++j) {
      move(packing.row_at(t) + j, t, packing.order[static_cast<size_t>(j)]);
    }
  });
}

// The rows of x that exist, one after the other.
template <class T>
const T* packed_input(const T* x, const Packing& packing, const LstmShape& s) {
  if (packing.whole) return x;
  T* packed = scratch<struct LstmInput, T>(packing.rows * s.inputs);
  for_each_row(packing, [&](int64_t row, int64_t t, int64_t b) {
    std::copy_n(x + (t * s.batch + b) * s.inputs, s.inputs, packed + row * s.inputs);
  });
  return packed;
}

// Zeros in every [columns] of x [time, batch, columns] past a length.
template <class T>
void clear_padding(T* x, int64_t columns, const Packing& packing, const LstmShape& s) {
  parallel_for(s.time, [&](int64_t t) {
    const int64_t running = t < packing.steps ? packing.active_at(t) : 0;
    for (int64_t j = running; j < s.batch; ++j) {
      std::fill_n(x + (t * s.batch + packing.order[static_cast<size_t>(j)]) * columns, columns,
                  T(0));
    }
  });
}

template <class T>
const T* sum_of_biases(const T* a, const T* b, int64_t count) {
  if (a == nullptr || b == nullptr) return a == nullptr ? b : a;
  T* sum = scratch<struct LstmBias, T>(count);
  for (int64_t i = 0; i < count; ++i) sum[i] = a[i] + b[i];
  return sum;
}

template <class T>
void run_forward(const LstmForward<T>& a, const Packing& packing, const Saved<T>& saved,
                 int64_t direction, int64_t begin) {
  const int64_t d = a.shape.d, columns = a.shape.columns();
  const T* w_hh = a.w_hh + direction * 4 * d * d;
  for (int64_t number = 0; number < packing.steps; ++number) {
    const Step step(packing, direction, number, begin);
    std::fill_n(saved.before + (step.row + step.from) * d, (step.rows - step.from) * d, T(0));
    multiply(MatrixProduct<T>{.a = saved.before + step.row * d,
                              .b = w_hh,
                              .c = saved.gates + step.row * 4 * d,
                              .lda = d,
                              .ldb = d,
                              .ldc = 4 * d,
                              .m = step.from,
                              .n = 4 * d,
                              .k = d,
                              .transpose_b = true,
                              .accumulate = true});
    for (int64_t j = 0; j < step.rows; ++j) {
      const int64_t row = step.row + j, b = packing.order[static_cast<size_t>(begin + j)];
      lstm_cell_forward(
          LstmCellForward<T>{
              .gates = saved.gates + row * 4 * d,
              .c_before = j < step.from ? saved.cells + (step.row_before + j) * d : nullptr,
              .c = saved.cells + row * d,
              .y = a.y + (step.t * a.shape.batch + b) * columns + direction * d,
              .y_copy = j < step.to ? saved.before + (step.row_after + j) * d : nullptr},
          d);
    }
  }
}

template <class T>
void run_backward(const LstmBackward<T>& a, const Packing& packing, const Saved<T>& saved,
                  int64_t direction, int64_t begin) {
  const int64_t d = a.shape.d, columns = a.shape.columns();
  const T* w_hh = a.w_hh + direction * 4 * d * d;
  T* dh = scratch<struct LstmGroup, T>(2 * kGroup * d);  // of the step after
  T* dc = dh + kGroup * d;
  for (int64_t number = packing.steps - 1; number >= 0; --number) {
    const Step step(packing, direction, number, begin);
    for (int64_t j = 0; j < step.rows; ++j) {
      const int64_t row = step.row + j, b = packing.order[static_cast<size_t>(begin + j)];
      lstm_cell_backward(
          LstmCellBackward<T>{
              .gates = saved.gates + row * 4 * d,
              .c_before = j < step.from ? saved.cells + (step.row_before + j) * d : nullptr,
              .c = saved.cells + row * d,
              .dy = a.dy + (step.t * a.shape.batch + b) * columns + direction * d,
              .dh_next = dh + j * d,
              .dc = dc + j * d,
              .last = j >= step.to},
          d);
    }
    multiply(MatrixProduct<T>{.a = saved.gates + step.row * 4 * d,
                              .b = w_hh,
                              .c = dh,
                              .lda = 4 * d,
                              .ldb = d,
                              .ldc = d,
                              .m = step.from,
                              .n = d,
                              .k = 4 * d});
  }
}

// dw (+)= dgates^T rows
template <class T>
void weight_gradient(const LstmGradient<T>& dw, int64_t direction, const T* dgates, const T* rows,
                     int64_t count, int64_t d, int64_t columns) {
  if (dw.to == nullptr) return;
  gemm(Gemm<T>{.a = dgates,
               .b = rows,
               .c = dw.to + direction * 4 * d * columns,
               .m = 4 * d,
               .n = columns,
               .k = count,
               .transpose_a = true,
               .accumulate = dw.accumulate});
}

template <class T>
void bias_gradient(const LstmBackward<T>& a, int64_t direction, const T* dgates, int64_t rows) {
  if (a.db_ih.to == nullptr && a.db_hh.to == nullptr) return;
  const int64_t count = 4 * a.shape.d;
  T* sums = scratch<struct LstmBias, T>(count);
  reduce_rows(ReduceRows<T>{.x = dgates, .y = sums, .rows = rows, .columns = count});
  for (const LstmGradient<T>& db : {a.db_ih, a.db_hh}) {
    if (db.to == nullptr) continue;
    T* to = db.to + direction * count;
    for (int64_t i = 0; i < count; ++i) to[i] = db.accumulate ? to[i] + sums[i] : sums[i];
  }
}

// dx (+)= the sum over the directions of dgates w_ih
template <class T>
void input_gradient(const LstmBackward<T>& a, const Packing& packing) {
  if (a.dx.to == nullptr) return;
  const LstmShape& s = a.shape;
  const bool direct = packing.whole;
  T* packed = direct ? a.dx.to : scratch<struct LstmInput, T>(packing.rows * s.inputs);
  for (int64_t direction = 0; direction < s.directions; ++direction) {
    gemm(Gemm<T>{.a = Saved<T>(a.saved, s, direction).gates,
                 .b = a.w_ih + direction * 4 * s.d * s.inputs,
                 .c = packed,
                 .m = packing.rows,
                 .n = s.inputs,
                 .k = 4 * s.d,
                 .accumulate = direction > 0 || (direct && a.dx.accumulate)});
  }
  if (!a.dx.accumulate) clear_padding(a.dx.to, s.inputs, packing, s);
  if (direct) return;
  for_each_row(packing, [&](int64_t row, int64_t t, int64_t b) {
    const T* from = packed + row * s.inputs;
    T* to = a.dx.to + (t * s.batch + b) * s.inputs;
    for (int64_t i = 0; i < s.inputs; ++i) to[i] = a.dx.accumulate ? to[i] + from[i] : from[i];
  });
}

}  // namespace

template <class T>
void lstm_forward(const LstmForward<T>& a) {
  const LstmShape& s = a.shape;
  const Packing packing(a.lengths, s);
  T* kept = a.saved != nullptr ? a.saved : scratch<struct LstmKept, T>(s.saved_count());
  const T* x = packed_input(a.x, packing, s);
  const T* bias = sum_of_biases(a.b_ih, a.b_hh, s.directions * 4 * s.d);
  for (int64_t direction = 0; direction < s.directions; ++direction) {
    gemm(Gemm<T>{.a = x,
                 .b = a.w_ih + direction * 4 * s.d * s.inputs,
                 .bias = bias == nullptr ? nullptr : bias + direction * 4 * s.d,
                 .c = Saved<T>(kept, s, direction).gates,
                 .m = packing.rows,
                 .n = 4 * s.d,
                 .k = s.inputs,
                 .transpose_b = true});
  }
  clear_padding(a.y, s.columns(), packing, s);
  for_each_group(s, [&](int64_t direction, int64_t begin) {
    run_forward(a, packing, Saved<T>(kept, s, direction), direction, begin);
  });
}

template <class T>
void lstm_backward(const LstmBackward<T>& a) {
  const LstmShape& s = a.shape;
  const Packing packing(a.lengths, s);
  for_each_group(s, [&](int64_t direction, int64_t begin) {
    run_backward(a, packing, Saved<T>(a.saved, s, direction), direction, begin);
  });
  const T* x = a.dw_ih.to == nullptr ? nullptr : packed_input(a.x, packing, s);
  for (int64_t direction = 0; direction < s.directions; ++direction) {
    const Saved<T> saved(a.saved, s, direction);
    weight_gradient(a.dw_ih, direction, saved.gates, x, packing.rows, s.d, s.inputs);
    weight_gradient(a.dw_hh, direction, saved.gates, saved.before, packing.rows, s.d, s.d);
    bias_gradient(a, direction, saved.gates, packing.rows);
  }
  input_gradient(a, packing);
}

template void lstm_forward(const LstmForward<float>&);
template void lstm_forward(const LstmForward<double>&);
template void lstm_backward(const LstmBackward<float>&);
template void lstm_backward(const LstmBackward<double>&);

}  // namespace flyball::cpu
