#include "tests/simulated_gpu/runtime/report.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <vector>

#include "tests/simulated_gpu/runtime/graph.h"
#include "tests/simulated_gpu/runtime/memory.h"
#include "tests/simulated_gpu/runtime/streams.h"

namespace flyball::simulated_gpu::runtime {
namespace {

struct Total {
  uint64_t launches = 0;
  LaunchReport sum;
};
std::map<std::string, Total>& totals() {
  static auto* totals = new std::map<std::string, Total>;
  return *totals;
}

// Whether a program asked for counters by simulated_gpu_count().
std::atomic<bool> counting = false;

using Row = std::pair<std::string, Total>;

std::vector<Row> rows_by_work() {
  std::vector<Row> rows(totals().begin(), totals().end());
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    return a.second.sum.thread_instructions > b.second.sum.thread_instructions;
  });
  return rows;
}

double ratio(uint64_t a, uint64_t b) {
  return b ? static_cast<double>(a) / static_cast<double>(b) : 0;
}

void write_text(std::FILE* file) {
  std::fprintf(file, "%8s %14s %12s %12s %15s %14s %10s  %s\n", "launches", "instructions",
               "MB read", "MB written", "sectors/request", "bank conflicts", "divergent", "kernel");
  for (const auto& [kernel, total] : rows_by_work()) {
    const LaunchReport& sum = total.sum;
    std::fprintf(file, "%8llu %14llu %12.3f %12.3f %15.2f %14llu %10llu  %s\n",
                 static_cast<unsigned long long>(total.launches),
                 static_cast<unsigned long long>(sum.thread_instructions),
                 static_cast<double>(sum.global_bytes_read) / 1e6,
                 static_cast<double>(sum.global_bytes_written) / 1e6,
                 ratio(sum.global_sectors, sum.global_requests),
                 static_cast<unsigned long long>(sum.shared_bank_conflicts),
                 static_cast<unsigned long long>(sum.divergent_branches), kernel.c_str());
  }
  std::fprintf(file, "host synchronisations %llu, problems %d\n",
               static_cast<unsigned long long>(Streams::get().host_synchronizations()),
               Errors::get().problems());
}

void write_kernels(std::FILE* file) {
  const auto number = [&](const char* name, uint64_t value, const char* after = ", ") {
    std::fprintf(file, "\"%s\": %llu%s", name, static_cast<unsigned long long>(value), after);
  };
  for (const auto& [kernel, total] : rows_by_work()) {
    const LaunchReport& sum = total.sum;
    std::fprintf(file, "{\"kernel\": \"%s\", ", kernel.c_str());
    number("launches", total.launches);
    number("thread_instructions", sum.thread_instructions);
    number("warp_instructions", sum.warp_instructions);
    number("global_bytes_read", sum.global_bytes_read);
    number("global_bytes_written", sum.global_bytes_written);
    number("global_requests", sum.global_requests);
    number("global_sectors", sum.global_sectors);
    number("shared_requests", sum.shared_requests);
    number("shared_bank_conflicts", sum.shared_bank_conflicts);
    number("divergent_branches", sum.divergent_branches, "}\n");
  }
}

void write_json_lines(std::FILE* file) {
  write_kernels(file);
  std::fprintf(file, "{\"host_synchronizations\": %llu, \"problems\": %d}\n",
               static_cast<unsigned long long>(Streams::get().host_synchronizations()),
               Errors::get().problems());
}

// %p in the path is the process: a file each where several run under one environment.
std::string report_path() {
  const char* path = std::getenv("SIMULATED_GPU_REPORT");
  std::string text = path ? path : "";
  if (const size_t at = text.find("%p"); at != std::string::npos)
    text.replace(at, 2, std::to_string(getpid()));
  return text;
}

}  // namespace

bool reports_kernels() {
  return counting.load(std::memory_order_relaxed) || !report_path().empty();
}

void add_to_report(const std::string& kernel, const LaunchReport& launch) {
  auto& [launches, sum] = totals()[kernel];
  ++launches;
  sum.warp_instructions += launch.warp_instructions;
  sum.thread_instructions += launch.thread_instructions;
  sum.global_bytes_read += launch.global_bytes_read;
  sum.global_bytes_written += launch.global_bytes_written;
  sum.global_requests += launch.global_requests;
  sum.global_sectors += launch.global_sectors;
  sum.shared_requests += launch.shared_requests;
  sum.shared_bank_conflicts += launch.shared_bank_conflicts;
  sum.divergent_branches += launch.divergent_branches;
}

void write_reports() {
  if (environment_flag("SIMULATED_GPU_LEAKS", false)) {
    const std::string leaks =
        Memory::get().leaks() + Streams::get().leaks() + graph_leaks() + graph_exec_leaks();
    if (!leaks.empty()) Errors::get().problem("not freed at exit:\n" + leaks);
  }
  const std::string path = report_path();
  // A process that ran no kernel, such as a shell, leaves the file to the one that did.
  if (path.empty() || totals().empty()) return;
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (!file) {
    Errors::get().problem("cannot write the report to " + path);
    return;
  }
  path.ends_with(".jsonl") ? write_json_lines(file) : write_text(file);
  std::fclose(file);
}

}  // namespace flyball::simulated_gpu::runtime

// NOLINTBEGIN(readability-identifier-naming): found by name, by programs without a header of ours
extern "C" {

// Counts in the launches from now on, or not (beside SIMULATED_GPU_REPORT).
void simulated_gpu_count(int on) { flyball::simulated_gpu::runtime::counting = on != 0; }

// Copies the counters, a line of JSON a kernel, as SIMULATED_GPU_REPORT=path.jsonl has them, and
// forgets them. Returns their length; a text that is longer than the capacity is cut.
size_t simulated_gpu_take_counters(char* text, size_t capacity) {
  using namespace flyball::simulated_gpu::runtime;
  const std::lock_guard lock(runtime_mutex());
  char* lines = nullptr;
  size_t length = 0;
  std::FILE* file = open_memstream(&lines, &length);
  if (!file) return 0;
  write_kernels(file);
  std::fclose(file);
  if (text && capacity > 0) std::snprintf(text, capacity, "%s", lines);
  std::free(lines);
  totals().clear();
  return length;
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)
