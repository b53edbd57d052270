#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

// What the simulated GPU counts (tests/simulated_gpu): it has no time.
namespace flyball::bench {

// Whether CUDA's calls are answered by the simulated GPU's runtime.
bool on_simulated_gpu();

// The counters of what `work` launches and waits for, a JSON object a kernel, most instructions
// first, with the keys of SIMULATED_GPU_REPORT=path.jsonl.
std::vector<nlohmann::json> counters_of(const std::function<void()>& work);

// The columns of a line of counters, and one.
std::string counter_columns();
std::string counter_line(const nlohmann::json& kernel);
// The function of a kernel without namespaces and template arguments: "gemm".
std::string short_name(const nlohmann::json& kernel);

}  // namespace flyball::bench
