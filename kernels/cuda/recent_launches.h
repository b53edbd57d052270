#pragma once

#include <source_location>
#include <string>

// The last launches of this process, for error texts: a kernel's fault surfaces at a later call.
namespace flyball::cuda {

// `name` and the file's name are in static storage. Thread-safe.
void remember_launch(const char* name, const std::source_location& where);

// The newest first, at most eight, neighbours with the same name and place once: "adam at
// kernels/cuda/adam.cu:240, gemm at kernels/cuda/gemm.cu:80"; empty before the first launch.
// A graph's launches were remembered when it was captured.
std::string recent_launches();

}  // namespace flyball::cuda
