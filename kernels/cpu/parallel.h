#pragma once

#include <cstdint>
#include <type_traits>

namespace flyball::cpu {

// Number of threads that kernels may use, the calling one included; 1 until set. Between kernels
// the others sleep.
void set_threads(int count);
int threads();

namespace detail {
void run_parallel(int64_t count, void (*body)(void* context, int64_t i), void* context);
}

// Calls body(i) for every i in [0, count), on any thread and in any order, and returns when all are
// done. Callers cut work into pieces that do not depend on the number of threads, so results do not
// either. Calls from inside a body, or while another thread's call is running, run on the calling
// thread. An exception from body is rethrown here.
template <class Body>
void parallel_for(int64_t count, Body&& body) {
  if (count == 1 || threads() == 1) {
    for (int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  detail::run_parallel(
      count,
      [](void* context, int64_t i) { (*static_cast<std::remove_reference_t<Body>*>(context))(i); },
      &body);
}

}  // namespace flyball::cpu
