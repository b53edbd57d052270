#pragma once

namespace flyball::cpu {

// Which library the float gemm and conv2d use. oneDNN where it was found at build time, unless
// FLYBALL_CPU_BACKEND=eigen.
enum class Backend { kEigen, kOneDnn };

bool has_onednn();  // built with oneDNN
Backend backend();
void set_backend(Backend);  // throws Error when oneDNN is asked for and was not built in

}  // namespace flyball::cpu
