#pragma once

// FLYBALL_SIMD goes before a non-template function whose loops are a hot path: the compiler then
// also emits it for AVX2 and AVX-512 and the loader picks one for the machine. The loop itself is
// usually a FLYBALL_INLINE template on T, called from the marked function for float and from a
// plain one for double. Sanitizers run before the loader's choice could, so under them only the
// default version exists.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FLYBALL_SIMD __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define FLYBALL_SIMD
#endif

// A body that must be inlined into its FLYBALL_SIMD caller, to be compiled for the caller's
// instruction set.
#define FLYBALL_INLINE __attribute__((always_inline)) inline
