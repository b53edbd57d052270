#pragma once

#include <string>

#include "tests/simulated_gpu/simulator.h"

namespace flyball::simulated_gpu::runtime {

bool reports_kernels();  // SIMULATED_GPU_REPORT names a file
void add_to_report(const std::string& kernel, const LaunchReport& launch);

// At exit: the table of kernels, and with SIMULATED_GPU_LEAKS=1 what the program has not freed,
// which is a problem.
void write_reports();

}  // namespace flyball::simulated_gpu::runtime
