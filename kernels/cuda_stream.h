#pragma once

// CUDA's stream handle, declared as CUDA declares it, so that headers need no CUDA header.
typedef struct CUstream_st* cudaStream_t;  // NOLINT(modernize-use-using): the same declaration
