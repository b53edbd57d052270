#include "kernels/gemm.h"

#include <type_traits>

#include "kernels/cuda/simt_output.cuh"
#include "kernels/cuda/tensor_dispatch.cuh"

// c[m, n] = op(a)[m, k] * op(b)[k, n] by tiles in registers: 128 x 128, or smaller ones where the
// result is small; a long k is split over blocks.
namespace flyball::cuda {
namespace {

using namespace simt;

// The largest tile is 128 x 128: 8 x 8 outputs a thread in 128 registers.
constexpr int kLargeN = 128;

template <class T>
struct GemmTask {
  Matrix<T> a, b;  // [m, k], [n, k]
  Output<T> output;
  T* partials;
  int64_t count;  // m * n
  Plan plan;
};

// registers: <= 160 (<= 128 with whole vectors)
template <class Tile, bool kTransposeA, bool kTransposeB, bool kWhole>
__global__ void __launch_bounds__(Tile::kThreads, kWhole ? Tile::kBlocks : 1)
    gemm_kernel(const GemmTask<typename Tile::Element> task) {
  using T = typename Tile::Element;
  using PlacementA = std::conditional_t<kTransposeA, AlongRows<T, Tile::kM, Tile::kThreads>,
                                        AlongDepth<T, Tile::kM, Tile::kThreads>>;
  using PlacementB = std::conditional_t<kTransposeB, AlongDepth<T, Tile::kN, Tile::kThreads>,
                                        AlongRows<T, Tile::kN, Tile::kThreads>>;
  const Place place = Place::of<Tile>(task.plan, task.a.depth);
  // load, multiply: sums [kM, kN]
  MatrixTiles<PlacementA, kWhole> a(task.a, place.first_row, place.begin);
  MatrixTiles<PlacementB, kWhole> b(task.b, place.first_column, place.begin);
  T sums[Tile::kThreadM][Tile::kThreadN];
  multiply_tiles<Tile>(a, b, place.end - place.begin, sums);
  // store
  const int64_t stride = task.output.columns;
  write_tile<Tile>(output_of_split(task.output, task.plan, task.partials, task.count),
                   place.first_row, task.a.rows, place.first_column, sums,
                   [stride](int row) { return row * stride; });
}

template <class T>
Plan plan_of(const Gemm<T>& g) {
  Plan plan = make_plan<T, kLargeN>(g.m, g.n, g.k);
  if (g.part > 0)
    plan.cut_depth(ceil_divide(g.k, 4 * kWidth<T>), ceil_divide(g.part, 4 * kWidth<T>));
  return plan;
}

template <class T>
void gemm_simt(const Gemm<T>& g, cudaStream_t stream) {
  const auto m = static_cast<int>(g.m), n = static_cast<int>(g.n), k = static_cast<int>(g.k);
  const int extent_a = g.transpose_a ? m : k, extent_b = g.transpose_b ? k : n;  // contiguous
  GemmTask<T> task{.a = {g.a, extent_a, m, k},
                   .b = {g.b, extent_b, n, k},
                   .output = {g.c, g.accumulate ? nullptr : g.bias, n, g.relu && !g.accumulate,
                              g.accumulate, has_groups(g.c, n)},
                   .count = g.m * g.n,
                   .plan = plan_of(g)};
  task.partials = partials_of<T>(g.workspace, task.plan, "gemm");
  with_tile<T, kLargeN>(task.plan, [&](auto tile) {
    const bool whole = is_whole(g.a, extent_a) && is_whole(g.b, extent_b);
    with_flags(
        [&](auto... flags) {
          launch(gemm_kernel<decltype(tile), flags.value...>, "gemm",
                 {.grid = task.plan.grid(), .block = dim3(tile.kThreads)}, stream, task);
        },
        g.transpose_a, g.transpose_b, whole);
  });
  add_splits(task.plan, task.partials, task.output, task.count, "gemm: sum of splits", stream);
}

}  // namespace

template <class T, class Out>
int64_t gemm_workspace_bytes(const Gemm<T, Out>& g) {
  if (g.m == 0 || g.n == 0) return 0;
  return tensor::dispatch<T>(
      g, [](const auto& x) { return tensor::gemm_workspace_bytes(x); },
      [](const auto& x) { return partial_bytes(plan_of(x), x.m * x.n, sizeof(T)); });
}

template <class T, class Out>
void gemm(const Gemm<T, Out>& g, cudaStream_t stream) {
  if (g.m == 0 || g.n == 0) return;
  check_extent("gemm: m", g.m);
  check_extent("gemm: n", g.n);
  check_extent("gemm: k", g.k);
  tensor::dispatch<T>(
      g, [stream](const auto& x) { tensor::gemm(x, stream); },
      [stream](const auto& x) { gemm_simt(x, stream); });
}

template int64_t gemm_workspace_bytes(const Gemm<float>&);
template int64_t gemm_workspace_bytes(const Gemm<double>&);
template int64_t gemm_workspace_bytes(const Gemm<bf16>&);
template int64_t gemm_workspace_bytes(const Gemm<bf16, float>&);
template void gemm(const Gemm<float>&, cudaStream_t);
template void gemm(const Gemm<double>&, cudaStream_t);
template void gemm(const Gemm<bf16>&, cudaStream_t);
template void gemm(const Gemm<bf16, float>&, cudaStream_t);

}  // namespace flyball::cuda
