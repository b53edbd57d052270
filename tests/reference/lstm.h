#pragma once

#include <vector>

#include "kernels/lstm.h"
#include "tests/reference/bounded.h"

namespace flyball::reference {

inline int64_t lstm_length(const int32_t* lengths, int64_t b, int64_t time) {
  return lengths == nullptr ? time : std::clamp<int64_t>(lengths[b], 0, time);
}

// One sequence in one direction, step by step; Number is double or Bounded.
template <class Number>
struct LstmRun {
  LstmForward<double> a;
  int64_t direction, b;
  int64_t length = lstm_length(a.lengths, b, a.shape.time);
  int64_t d = a.shape.d, inputs = a.shape.inputs;
  std::vector<Number> gates{}, cells{},
      states{};  // in the order of computation: [length, 4 d], ...

  const double* x(int64_t step) const { return a.x + (time_of(step) * a.shape.batch + b) * inputs; }
  int64_t time_of(int64_t step) const { return direction == 0 ? step : length - 1 - step; }
  int64_t y_index(int64_t step) const {
    return (time_of(step) * a.shape.batch + b) * a.shape.columns() + direction * d;
  }
  double w_ih(int64_t row, int64_t i) const {
    return a.w_ih[(direction * 4 * d + row) * inputs + i];
  }
  double w_hh(int64_t row, int64_t i) const { return a.w_hh[(direction * 4 * d + row) * d + i]; }
  Number gate(int64_t step, int64_t which, int64_t j) const {
    return gates[static_cast<size_t>((step * 4 + which) * d + j)];
  }
  Number cell(int64_t step, int64_t j) const {
    return step < 0 ? Number{} : cells[static_cast<size_t>(step * d + j)];
  }
  Number state(int64_t step, int64_t j) const {
    return step < 0 ? Number{} : states[static_cast<size_t>(step * d + j)];
  }

  void forward() {
    for (int64_t step = 0; step < length; ++step) {
      for (int64_t row = 0; row < 4 * d; ++row) {
        const bool is_g = row >= 2 * d && row < 3 * d;
        const double b_ih = a.b_ih == nullptr ? 0 : a.b_ih[direction * 4 * d + row];
        const double b_hh = a.b_hh == nullptr ? 0 : a.b_hh[direction * 4 * d + row];
        const Number z = sum_terms<Number>(inputs + d + 2, [&](int64_t i) {
          if (i < inputs) return Number{x(step)[i]} * Number{w_ih(row, i)};
          if (i < inputs + d) return state(step - 1, i - inputs) * Number{w_hh(row, i - inputs)};
          return Number{i == inputs + d ? b_ih : b_hh};
        });
        gates.push_back(is_g ? tanh_of(z) : sigma_of(z));
      }
      for (int64_t j = 0; j < d; ++j) {
        cells.push_back(gate(step, 1, j) * cell(step - 1, j) + gate(step, 0, j) * gate(step, 2, j));
        states.push_back(gate(step, 3, j) * tanh_of(cells.back()));
      }
    }
  }

  // dz: [length, 4 d].
  std::vector<Number> backward(const double* dy) const {
    const Number one{1};
    std::vector<Number> dz(static_cast<size_t>(length * 4 * d));
    std::vector<Number> dc(static_cast<size_t>(d));
    for (int64_t step = length - 1; step >= 0; --step) {
      for (int64_t j = 0; j < d; ++j) {
        Number dh{dy[y_index(step) + j]};
        if (step + 1 < length) {
          dh = dh + sum_terms<Number>(4 * d, [&](int64_t row) {
                 return dz[static_cast<size_t>((step + 1) * 4 * d + row)] * Number{w_hh(row, j)};
               });
        }
        const Number i = gate(step, 0, j), f = gate(step, 1, j), g = gate(step, 2, j);
        const Number o = gate(step, 3, j), t = tanh_of(cell(step, j));
        Number& through = dc[static_cast<size_t>(j)];
        through = through + dh * o * (one - t * t);
        Number* to = dz.data() + step * 4 * d + j;
        to[0] = through * g * i * (one - i);
        to[d] = through * cell(step - 1, j) * f * (one - f);
        to[2 * d] = through * i * (one - g * g);
        to[3 * d] = dh * t * o * (one - o);
        through = through * f;
      }
    }
    return dz;
  }
};

// y: [time, batch, columns]
template <class Number>
std::vector<Number> lstm_outputs(const LstmForward<double>& a) {
  std::vector<Number> y(static_cast<size_t>(a.shape.time * a.shape.batch * a.shape.columns()));
  for (int64_t direction = 0; direction < a.shape.directions; ++direction)
    for (int64_t b = 0; b < a.shape.batch; ++b) {
      LstmRun<Number> run{.a = a, .direction = direction, .b = b};
      run.forward();
      for (int64_t step = 0; step < run.length; ++step)
        for (int64_t j = 0; j < run.d; ++j)
          y[static_cast<size_t>(run.y_index(step) + j)] = run.state(step, j);
    }
  return y;
}

template <class Number>
struct LstmGradients {
  std::vector<Number> dx, dw_ih, dw_hh, db;
};

// Without what is accumulated onto.
template <class Number>
LstmGradients<Number> lstm_gradients(const LstmForward<double>& a, const double* dy) {
  const LstmShape& s = a.shape;
  const int64_t gates = s.directions * 4 * s.d;
  // Each gradient is a sum over all steps of all sequences of terms that are collected first.
  using Terms = std::vector<std::vector<Number>>;
  const auto terms = [](int64_t count) { return Terms(static_cast<size_t>(count)); };
  Terms dx = terms(s.time * s.batch * s.inputs), dw_ih = terms(gates * s.inputs);
  Terms dw_hh = terms(gates * s.d), db = terms(gates);
  const auto at = [](Terms& all, int64_t i) -> std::vector<Number>& {
    return all[static_cast<size_t>(i)];
  };
  for (int64_t direction = 0; direction < s.directions; ++direction)
    for (int64_t b = 0; b < s.batch; ++b) {
      LstmRun<Number> run{.a = a, .direction = direction, .b = b};
      run.forward();
      const std::vector<Number> dz = run.backward(dy);
      for (int64_t step = 0; step < run.length; ++step)
        for (int64_t row = 0; row < 4 * s.d; ++row) {
          const Number term = dz[static_cast<size_t>(step * 4 * s.d + row)];
          const int64_t line = direction * 4 * s.d + row;
          const int64_t x_begin = (run.time_of(step) * s.batch + b) * s.inputs;
          at(db, line).push_back(term);
          for (int64_t i = 0; i < s.inputs; ++i) {
            at(dw_ih, line * s.inputs + i).push_back(term * Number{run.x(step)[i]});
            at(dx, x_begin + i).push_back(term * Number{run.w_ih(row, i)});
          }
          for (int64_t j = 0; j < s.d; ++j)
            at(dw_hh, line * s.d + j).push_back(term * run.state(step - 1, j));
        }
    }
  const auto sums = [](const Terms& all) {
    std::vector<Number> result;
    for (const std::vector<Number>& one : all)
      result.push_back(sum_terms<Number>(static_cast<int64_t>(one.size()),
                                         [&](int64_t i) { return one[static_cast<size_t>(i)]; }));
    return result;
  };
  return {.dx = sums(dx), .dw_ih = sums(dw_ih), .dw_hh = sums(dw_hh), .db = sums(db)};
}

}  // namespace flyball::reference
