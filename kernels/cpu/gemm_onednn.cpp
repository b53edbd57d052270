#include "kernels/cpu/onednn.h"

#if FLYBALL_HAVE_ONEDNN

#include <dnnl.h>
#include <omp.h>

#include "kernels/error.h"

namespace flyball::cpu::onednn {

void use_one_thread() {
  thread_local const bool done = [] {
    omp_set_num_threads(1);
    return true;
  }();
  static_cast<void>(done);
}

void multiply(const MatrixProduct<float>& p) {
  use_one_thread();
  const dnnl_status_t status =
      dnnl_sgemm(p.transpose_a ? 'T' : 'N', p.transpose_b ? 'T' : 'N', p.m, p.n, p.k, 1.0f, p.a,
                 p.lda, p.b, p.ldb, p.accumulate ? 1.0f : 0.0f, p.c, p.ldc);
  if (status != dnnl_success) {
    throw Error(
        str("gemm: oneDNN failed with status ", status, " for m ", p.m, ", n ", p.n, ", k ", p.k));
  }
}

}  // namespace flyball::cpu::onednn

#endif
