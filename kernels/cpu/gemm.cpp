#include "kernels/gemm.h"

#include <algorithm>

#include "kernels/cpu/matrix_product.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scratch.h"
#include "kernels/error.h"

namespace flyball::cpu {
namespace {

enum class Axis { kM, kN, kK };

// How c is divided among threads: by the sizes alone, so that each element is always summed in the
// same order. A piece has at least kPieceFlops, so that handing it out costs little.
struct Split {
  Axis axis = Axis::kM;
  int64_t width = 0;
  int64_t pieces = 1;
};

constexpr double kPieceFlops = 8e6;
constexpr int64_t kMaxPieces = 8;
constexpr int64_t kMinWidth = 128, kMinDepth = 1024;

template <class T>
Split split(const Gemm<T>& g) {
  const double flops =
      2.0 * static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k);
  const auto wanted = static_cast<int64_t>(std::min<double>(kMaxPieces, flops / kPieceFlops));
  if (wanted < 2) return {};
  const auto along = [&](Axis axis, int64_t size, int64_t least) {
    const int64_t width = std::max(least, ((size + wanted - 1) / wanted + 63) / 64 * 64);
    return Split{axis, width, (size + width - 1) / width};
  };
  if (g.n >= 2 * kMinWidth && g.n >= g.m) return along(Axis::kN, g.n, kMinWidth);
  if (g.m >= 2 * kMinWidth) return along(Axis::kM, g.m, kMinWidth);
  if (g.k >= 2 * kMinDepth) return along(Axis::kK, g.k, kMinDepth);
  return {};
}

template <class T>
MatrixProduct<T> whole(const Gemm<T>& g) {
  return {.a = g.a,
          .b = g.b,
          .c = g.c,
          .lda = g.transpose_a ? g.m : g.k,
          .ldb = g.transpose_b ? g.k : g.n,
          .ldc = g.n,
          .m = g.m,
          .n = g.n,
          .k = g.k,
          .transpose_a = g.transpose_a,
          .transpose_b = g.transpose_b,
          .accumulate = g.accumulate};
}

template <class T>
void finish(const Gemm<T>& g, const MatrixProduct<T>& p, int64_t first_column) {
  if (g.accumulate || (g.bias == nullptr && !g.relu)) return;
  add_bias_relu(p.c, p.ldc, g.bias == nullptr ? nullptr : g.bias + first_column, p.m, p.n, g.relu);
}

// Rows or columns [start, start + width) of c.
template <class T>
void run_block(const Gemm<T>& g, const Split& s, int64_t piece) {
  MatrixProduct<T> p = whole(g);
  const int64_t start = piece * s.width;
  if (s.axis == Axis::kM) {
    p.m = std::min(s.width, g.m - start);
    p.a += g.transpose_a ? start : start * p.lda;
    p.c += start * p.ldc;
  } else {
    p.n = std::min(s.width, g.n - start);
    p.b += g.transpose_b ? start * p.ldb : start;
    p.c += start;
  }
  multiply(p);
  finish(g, p, s.axis == Axis::kN ? start : 0);
}

// Products over ranges of k, added up in order: the first in c itself, the others in scratch.
template <class T>
void run_split_k(const Gemm<T>& g, const Split& s) {
  T* partials = scratch<struct GemmPartials, T>((s.pieces - 1) * g.m * g.n);
  parallel_for(s.pieces, [&](int64_t piece) {
    MatrixProduct<T> p = whole(g);
    const int64_t start = piece * s.width;
    p.k = std::min(s.width, g.k - start);
    p.a += g.transpose_a ? start * p.lda : start;
    p.b += g.transpose_b ? start : start * p.ldb;
    if (piece > 0) {
      p.c = partials + (piece - 1) * g.m * g.n;
      p.accumulate = false;
    }
    multiply(p);
  });
  for (int64_t piece = 1; piece < s.pieces; ++piece) {
    add_to(g.c, partials + (piece - 1) * g.m * g.n, g.m * g.n);
  }
  finish(g, whole(g), 0);
}

}  // namespace

template <class T>
void gemm(const Gemm<T>& g) {
  if (g.tf32) throw Error("gemm: tf32 needs a CUDA device of compute capability 8.0 or newer");
  if (g.m == 0 || g.n == 0) return;
  const Split s = split(g);
  if (s.pieces == 1) {
    const MatrixProduct<T> p = whole(g);
    multiply(p);
    finish(g, p, 0);
  } else if (s.axis == Axis::kK) {
    run_split_k(g, s);
  } else {
    parallel_for(s.pieces, [&](int64_t piece) { run_block(g, s, piece); });
  }
}

template void gemm(const Gemm<float>&);
template void gemm(const Gemm<double>&);

}  // namespace flyball::cpu
