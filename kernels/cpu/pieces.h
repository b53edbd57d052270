#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/parallel.h"

namespace flyball::cpu {

// What one thread takes at a time, whatever the number of threads. An input of one piece never
// reaches the pool, which would cost more than it gives.
inline constexpr int64_t kPieceElements = 32768;

// Calls body(begin, end) for consecutive pieces of [0, count), on any thread and in any order.
template <class Body>
void for_pieces(int64_t count, Body&& body) {
  parallel_for((count + kPieceElements - 1) / kPieceElements, [&](int64_t i) {
    const int64_t begin = i * kPieceElements;
    body(begin, std::min(begin + kPieceElements, count));
  });
}

}  // namespace flyball::cpu
