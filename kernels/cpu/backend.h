#pragma once

namespace flyball::cpu {

// Which library the float gemm and conv2d use. oneDNN where it was found at build time, unless
// FLYBALL_CPU_BACKEND=eigen.
enum class Backend { kEigen, kOneDnn };

bool has_onednn();  // built with oneDNN
Backend backend();
void set_backend(Backend);  // throws Error when oneDNN is asked for and was not built in

// Where the float conv2d is computed by winograd.h rather than by the library: where that is
// expected to be faster, nowhere, or wherever it can be. FLYBALL_CPU_WINOGRAD=auto|off|always.
enum class WinogradUse { kAuto, kOff, kAlways };

WinogradUse winograd_use();
void set_winograd_use(WinogradUse);
const char* name_of(WinogradUse);

}  // namespace flyball::cpu
