#pragma once

#include <type_traits>

#include "kernels/cuda/tensor_dispatch.cuh"
#include "kernels/cuda/tensor_output.cuh"

// c[m, n] = op(a)[m, k] * op(b)[k, n] on tensor cores; a long k is split over blocks.
namespace flyball::cuda::tensor {

template <class T>
struct GemmTask {
  Matrix<T> a, b;  // [m, k], [n, k]
  Result<T> c;
  Plan plan;
};

// registers: <= 208
template <class Tile, bool kTransposeA, bool kTransposeB, bool kWhole>
__global__ void __launch_bounds__(Tile::kThreads, kWhole ? Tile::kBlocks : 1)
    gemm_tensor_kernel(const GemmTask<typename Tile::Element> task) {
  using T = typename Tile::Element;
  using PlacementA = std::conditional_t<kTransposeA, AlongRows<T, Tile::kM, Tile::kThreads>,
                                        AlongDepth<T, Tile::kM, Tile::kThreads>>;
  using PlacementB = std::conditional_t<kTransposeB, AlongDepth<T, Tile::kN, Tile::kThreads>,
                                        AlongRows<T, Tile::kN, Tile::kThreads>>;
  const Place place = Place::of<Tile>(task.plan, task.a.depth);
  // load, multiply: sums [kM, kN]
  MatrixTiles<PlacementA, kWhole> a(task.a, place.first_row, place.begin);
  MatrixTiles<PlacementB, kWhole> b(task.b, place.first_column, place.begin);
  typename Tile::Sums sums;
  multiply_tiles<Tile>(a, b, place.end - place.begin, shared_memory<T>(), sums);
  // store
  const Place to = Place::of<Tile>(task.plan, task.a.depth);
  const int64_t stride = task.b.rows;
  write_tile<Tile, false>(task.c, to.first_row, task.a.rows, to.first_column, sums,
                          [stride](int row) { return row * stride; });
}

template <class T, class Out>
int64_t gemm_workspace_bytes(const Gemm<T, Out>& g) {
  return partial_bytes(make_plan<T>(g.m, g.n, g.k), g.m * g.n, sizeof(float));
}

template <class T, class Out>
void gemm(const Gemm<T, Out>& g, cudaStream_t stream) {
  require_tensor_cores(std::is_same_v<T, bf16> ? "gemm: bf16" : "gemm: tf32");
  const auto m = static_cast<int>(g.m), n = static_cast<int>(g.n), k = static_cast<int>(g.k);
  const int extent_a = g.transpose_a ? m : k, extent_b = g.transpose_b ? k : n;  // contiguous
  const int64_t count = g.m * g.n;
  const Plan plan = make_plan<T>(g.m, g.n, g.k);
  const Output<Out> output{g.c,
                           g.accumulate ? nullptr : g.bias,
                           n,
                           g.relu && !g.accumulate,
                           g.accumulate,
                           has_groups(g.c, n)};
  float* partials = partials_of<float>(g.workspace, plan, "gemm");
  const GemmTask<T> task{.a = {g.a, extent_a, m, k},
                         .b = {g.b, extent_b, n, k},
                         .c = result_of<T>(output, plan, partials, count),
                         .plan = plan};
  with_tile<T>(plan, [&](auto tile) {
    with_flags(
        [&](auto... flags) {
          launch_tiles<decltype(tile)>(gemm_tensor_kernel<decltype(tile), flags.value...>, "gemm",
                                       plan, stream, task);
        },
        g.transpose_a, g.transpose_b, is_whole(g.a, extent_a) && is_whole(g.b, extent_b));
  });
  add_splits(plan, partials, output, count, "gemm: sum of splits", stream);
}

}  // namespace flyball::cuda::tensor
