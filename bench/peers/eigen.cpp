// A copy of Eigen of its own, compiled for this machine's instruction set: the linker would
// otherwise take one of the two for this file and for Flyball's kernels.
#define Eigen EigenOfThisMachine
#include <Eigen/Core>
#include <cmath>

#include "bench/peers/peers.h"
#include "kernels/batch_norm.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/pool2d.h"
#include "kernels/reduce.h"
#include "kernels/softmax_cross_entropy.h"

// Each operation as one would write it with Eigen's expressions.
namespace flyball::bench {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Array = Eigen::Array<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using In = Eigen::Map<const Array>;
using Out = Eigen::Map<Array>;
using Row = Eigen::Map<Eigen::Array<float, 1, Eigen::Dynamic>>;
using InRow = Eigen::Map<const Eigen::Array<float, 1, Eigen::Dynamic>>;

void run(const Gemm<float>& g) {
  const Eigen::Map<const Matrix> a(g.a, g.transpose_a ? g.k : g.m, g.transpose_a ? g.m : g.k);
  const Eigen::Map<const Matrix> b(g.b, g.transpose_b ? g.n : g.k, g.transpose_b ? g.k : g.n);
  Eigen::Map<Matrix> c(g.c, g.m, g.n);
  const auto multiply = [&](const auto& left, const auto& right) {
    if (g.accumulate) {
      c.noalias() += left * right;
    } else {
      c.noalias() = left * right;
    }
  };
  if (g.transpose_a && g.transpose_b) {
    multiply(a.transpose(), b.transpose());
  } else if (g.transpose_a) {
    multiply(a.transpose(), b);
  } else if (g.transpose_b) {
    multiply(a, b.transpose());
  } else {
    multiply(a, b);
  }
  if (g.bias != nullptr) c.array().rowwise() += InRow(g.bias, g.n);
  if (g.relu) c = c.cwiseMax(0.0F);
}

void run(const SoftmaxCrossEntropy<float>& s) {
  const In logits(s.logits, s.rows, s.classes);
  Array shifted = logits.colwise() - logits.rowwise().maxCoeff();
  Array exponentials = shifted.exp();
  const Eigen::ArrayXf sums = exponentials.rowwise().sum();
  double loss = 0;
  int32_t correct = 0;
  for (int64_t i = 0; i < s.rows; ++i) {
    Eigen::Index best = 0;
    logits.row(i).maxCoeff(&best);
    correct += best == s.labels[i] ? 1 : 0;
    const double log_sum = std::log(static_cast<double>(sums[i]));
    const double target = 1 - s.label_smoothing;
    loss -= target * (static_cast<double>(shifted(i, s.labels[i])) - log_sum);
    if (s.label_smoothing > 0) {
      loss -= s.label_smoothing * (static_cast<double>(shifted.row(i).mean()) - log_sum);
    }
  }
  const auto rows = static_cast<float>(s.rows);
  *s.loss = static_cast<float>(loss / static_cast<double>(s.rows));
  *s.correct = correct;
  if (s.dlogits == nullptr) return;
  Out dlogits(s.dlogits, s.rows, s.classes);
  dlogits = exponentials.colwise() / (sums * rows);
  if (s.label_smoothing > 0) {
    dlogits -= static_cast<float>(s.label_smoothing / static_cast<double>(s.classes)) / rows;
  }
  for (int64_t i = 0; i < s.rows; ++i) {
    dlogits(i, s.labels[i]) -= static_cast<float>(1 - s.label_smoothing) / rows;
  }
}

void run(const ReluForward<float>& r) { Row(r.y, r.count) = InRow(r.x, r.count).max(0.0F); }

void run(const ReluBackward<float>& r) {
  const auto dx = (InRow(r.y, r.count) > 0).select(InRow(r.dy, r.count), 0.0F);
  Row out(r.dx, r.count);
  if (r.accumulate) {
    out += dx;
  } else {
    out = dx;
  }
}

void run(const Add<float>& a) { Row(a.y, a.count) = InRow(a.a, a.count) + InRow(a.b, a.count); }

void run(const Multiply<float>& m) {
  Row y(m.y, m.count);
  if (m.accumulate) {
    y += InRow(m.a, m.count) * InRow(m.b, m.count);
  } else {
    y = InRow(m.a, m.count) * InRow(m.b, m.count);
  }
}

void run(const Scale<float>& s) {
  const float alpha = s.alpha_pointer != nullptr ? *s.alpha_pointer : s.alpha;
  Row y(s.y, s.count);
  if (s.accumulate) {
    y += alpha * InRow(s.x, s.count);
  } else {
    y = alpha * InRow(s.x, s.count);
  }
}

void run(const BiasReluBackward<float>& b) {
  Out dz(b.dz, b.rows, b.columns);
  dz = (In(b.y, b.rows, b.columns) > 0).select(In(b.dy, b.rows, b.columns), 0.0F);
  if (b.dbias == nullptr) return;
  Row dbias(b.dbias, b.columns);
  if (b.accumulate_dbias) {
    dbias += dz.colwise().sum();
  } else {
    dbias = dz.colwise().sum();
  }
}

void run(const ReduceSum<float>& r) {
  const float sum = static_cast<float>(r.alpha) * InRow(r.x, r.count).sum();
  *r.y = r.accumulate ? *r.y + sum : sum;
}

void run(const ReduceRows<float>& r) {
  Row y(r.y, r.columns);
  if (r.accumulate) {
    y += In(r.x, r.rows, r.columns).colwise().sum();
  } else {
    y = In(r.x, r.rows, r.columns).colwise().sum();
  }
}

void run(const SumOfSquares<float>& s) {
  const auto sum = static_cast<double>(InRow(s.x, s.count).square().sum());
  *s.y = s.accumulate ? *s.y + sum : sum;
}

void run(const GlobalAveragePoolForward<float>& p) {
  for (int64_t i = 0; i < p.n; ++i) {
    Row(p.y + i * p.c, p.c) = In(p.x + i * p.pixels * p.c, p.pixels, p.c).colwise().mean();
  }
}

void run(const BatchNormApply<float>& b) {
  const auto eps = static_cast<float>(b.eps);
  Eigen::Array<float, 1, Eigen::Dynamic> scale = InRow(b.gamma, b.c);
  if (b.inv_std != nullptr) {
    scale *= InRow(b.inv_std, b.c);
  } else {
    scale /= (InRow(b.var, b.c) + eps).sqrt();
  }
  const Eigen::Array<float, 1, Eigen::Dynamic> shift =
      InRow(b.beta, b.c) - InRow(b.mean, b.c) * scale;
  Out y(b.y, b.rows, b.c);
  y = (In(b.x, b.rows, b.c).rowwise() * scale).rowwise() + shift;
  if (b.residual != nullptr) y += In(b.residual, b.rows, b.c);
  if (b.relu) y = y.max(0.0F);
}

template <class... Arguments>
void offer_each(const std::any& arguments, std::vector<Peer>& peers) {
  (if_holds<Arguments>(arguments,
                       [&](const Arguments& held) {
                         peers.push_back({"eigen", [held] { run(held); }});
                       }),
   ...);
}

}  // namespace

void offer_eigen(const std::any& arguments, std::vector<Peer>& peers) {
  offer_each<Gemm<float>, SoftmaxCrossEntropy<float>, ReluForward<float>, ReluBackward<float>,
             Add<float>, Multiply<float>, Scale<float>, BiasReluBackward<float>, ReduceSum<float>,
             ReduceRows<float>, SumOfSquares<float>, GlobalAveragePoolForward<float>,
             BatchNormApply<float>>(arguments, peers);
}

std::vector<Peer> peers_of(const std::any& arguments) {
  std::vector<Peer> peers;
  offer_onednn(arguments, peers);
  offer_eigen(arguments, peers);
  return peers;
}

}  // namespace flyball::bench
