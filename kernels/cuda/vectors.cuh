#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "kernels/cuda/widen.cuh"

// Four elements at a time: one 16-byte access (two in f64, 8 bytes in bf16) where everything is
// aligned, single elements otherwise. Loads give and stores take what kernels compute with: f32 for
// bf16, the element itself otherwise.
namespace flyball::cuda {

template <class T>
struct alignas(sizeof(T) < 4 ? 4 * sizeof(T) : 16) Four {
  T at[4];
};

// Neighbours [begin, begin + count) that one thread works on; whole: four of them, and aligned.
struct Slot {
  int64_t begin = 0;
  int count = 0;
  bool whole = false;
};

// The slot at `begin` of `elements`; empty beyond them.
__device__ inline Slot slot_at(int64_t begin, int64_t elements, bool aligned) {
  const int64_t left = elements - begin;
  return {begin, left >= 4 ? 4 : left > 0 ? static_cast<int>(left) : 0, aligned && left >= 4};
}

// Whether slots whose begin is a multiple of four may be accessed as a whole.
template <class... T>
__device__ bool are_aligned(const T*... x) {
  return ((reinterpret_cast<uintptr_t>(x) % alignof(Four<T>) == 0) && ...);
}

template <class T>
__device__ Four<Accumulator<T>> widened(const Four<T>& four) {
  if constexpr (std::is_same_v<T, Accumulator<T>>) {
    return four;
  } else {
    return {widened(four.at[0]), widened(four.at[1]), widened(four.at[2]), widened(four.at[3])};
  }
}

template <class T>
__device__ Four<T> narrowed(const Four<Accumulator<T>>& wide) {
  if constexpr (std::is_same_v<T, Accumulator<T>>) {
    return wide;
  } else {
    return {narrowed<T>(wide.at[0]), narrowed<T>(wide.at[1]), narrowed<T>(wide.at[2]),
            narrowed<T>(wide.at[3])};
  }
}

// The slot's elements as they are in memory, where registers are short; zeros where there are none.
template <class T>
__device__ Four<T> load_as_stored(const T* x, const Slot& slot) {
  if (slot.whole) return *reinterpret_cast<const Four<T>*>(x + slot.begin);
  Four<T> four;
#pragma unroll
  for (int j = 0; j < 4; ++j) four.at[j] = j < slot.count ? x[slot.begin + j] : T{0};
  return four;
}

template <class T>
__device__ Four<Accumulator<T>> load(const T* x, const Slot& slot) {
  return widened(load_as_stored(x, slot));
}

template <class T>
__device__ void store(T* x, const Slot& slot, const Four<Accumulator<T>>& four) {
  if (slot.whole) {
    *reinterpret_cast<Four<T>*>(x + slot.begin) = narrowed<T>(four);
    return;
  }
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (j < slot.count) x[slot.begin + j] = narrowed<T>(four.at[j]);
  }
}

// store(), with the vector instruction by name: in some kernels the compiler would merge its two
// branches into single elements; in others the name costs registers.
template <class T>
__device__ void store_vector(T* x, const Slot& slot, const Four<Accumulator<T>>& wide) {
  if (!slot.whole) {
    store(x, slot, wide);
    return;
  }
  using Vector = std::conditional_t<sizeof(Four<T>) % sizeof(int4) == 0, int4, int2>;
  const Four<T> four = narrowed<T>(wide);
#pragma unroll
  for (size_t i = 0; i < sizeof(four) / sizeof(Vector); ++i) {
    __stwb(reinterpret_cast<Vector*>(x + slot.begin) + i,
           reinterpret_cast<const Vector*>(&four)[i]);
  }
}

inline constexpr int kMapThreads = 256;
inline constexpr int kMapSlots = 2;  // of a thread: loads in flight
inline constexpr int64_t kMapTile = int64_t{4} * kMapThreads * kMapSlots;  // elements of a block

// to[i] = function(from[i]...) for the block's tile of `count` elements; `to` may be one of them.
template <class To, class From, class Function, size_t... kInput>
__device__ void map_inputs(int64_t count, To* to, Function function, std::index_sequence<kInput...>,
                           const From* const* from, bool aligned) {
  constexpr int kInputs = sizeof...(kInput);
  Slot slots[kMapSlots];
  Four<Accumulator<From>> inputs[kMapSlots][kInputs + 1];
#pragma unroll
  for (int s = 0; s < kMapSlots; ++s) {
    const int64_t at = blockIdx.x * kMapTile + 4 * (s * kMapThreads + threadIdx.x);
    slots[s] = slot_at(at, count, aligned);
#pragma unroll
    for (int i = 0; i < kInputs; ++i) inputs[s][i] = load(from[i], slots[s]);
  }
#pragma unroll
  for (int s = 0; s < kMapSlots; ++s) {
    Four<Accumulator<To>> result;
#pragma unroll
    for (int j = 0; j < 4; ++j) result.at[j] = function(inputs[s][kInput].at[j]...);
    store(to, slots[s], result);
  }
}

template <class From, class To, class Function, class... Inputs>
__device__ void map_elements(int64_t count, To* to, Function function, const Inputs*... inputs) {
  const From* const from[sizeof...(Inputs) + 1] = {inputs...};
  map_inputs<To, From>(count, to, function, std::index_sequence_for<Inputs...>(), from,
                       are_aligned(to, inputs...));
}

}  // namespace flyball::cuda
