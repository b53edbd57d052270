#include "tests/simulated_gpu/runtime/errors.h"

// What the generated stubs of all functions without a definition here call.
extern "C" int simulated_gpu_not_covered(const char* name) {
  return flyball::simulated_gpu::runtime::not_covered(name);
}
