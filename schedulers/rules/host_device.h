#pragma once

// Marks code that runs on both sides: nvcc sees the CUDA qualifiers, a C++ compiler sees nothing.
#if defined(__CUDACC__)
#define FLYBALL_HOST_DEVICE __host__ __device__
#else
#define FLYBALL_HOST_DEVICE
#endif
