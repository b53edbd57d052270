#include "bench/simulated_counters.h"

#include <dlfcn.h>

#include <cstdio>
#include <sstream>

#include "kernels/error.h"

namespace flyball::bench {
namespace {

constexpr size_t kCapacity = size_t{1} << 20;  // of the text that the counters come in

template <class Function>
Function* found(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
}

auto* count_function() { return found<void(int)>("simulated_gpu_count"); }
auto* take_function() { return found<size_t(char*, size_t)>("simulated_gpu_take_counters"); }

}  // namespace

bool on_simulated_gpu() { return count_function() != nullptr; }

std::vector<nlohmann::json> counters_of(const std::function<void()>& work) {
  take_function()(nullptr, 0);  // of launches before
  count_function()(1);
  work();
  count_function()(0);
  std::string text(kCapacity, '\0');
  const size_t length = take_function()(text.data(), text.size());
  if (length >= kCapacity) throw Error(str("counters: ", length, " bytes, expected fewer"));
  text.resize(length);
  std::vector<nlohmann::json> kernels;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    kernels.push_back(nlohmann::json::parse(line));
  }
  return kernels;
}

std::string counter_columns() {
  char text[160];
  std::snprintf(text, sizeof text, "%8s %14s %10s %10s %11s %15s %14s %10s", "launches",
                "instructions", "MB read", "MB written", "sectors", "sectors/request",
                "bank conflicts", "divergent");
  return text;
}

std::string counter_line(const nlohmann::json& kernel) {
  const auto number = [&](const char* key) { return kernel.at(key).get<double>(); };
  const double requests = number("global_requests"), sectors = number("global_sectors");
  char text[160];
  std::snprintf(text, sizeof text, "%8.0f %14.0f %10.3f %10.3f %11.0f %15.1f %14.0f %10.0f",
                number("launches"), number("thread_instructions"),
                1e-6 * number("global_bytes_read"), 1e-6 * number("global_bytes_written"), sectors,
                requests > 0 ? sectors / requests : 0, number("shared_bank_conflicts"),
                number("divergent_branches"));
  return text;
}

std::string short_name(const nlohmann::json& kernel) {
  std::string name = kernel.at("kernel").get<std::string>();
  name = name.substr(0, name.find('<'));
  name = name.substr(0, name.find('('));
  const size_t scope = name.rfind("::");
  if (scope != std::string::npos) name.erase(0, scope + 2);
  const std::string suffix = "_kernel";
  if (name.ends_with(suffix)) name.resize(name.size() - suffix.size());
  return name;
}

}  // namespace flyball::bench
