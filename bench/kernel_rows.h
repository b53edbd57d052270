#pragma once

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/ceilings.h"
#include "bench/measure.h"

namespace flyball::bench {

// What another library takes for a case.
struct PeerRow {
  std::string implementation;
  std::optional<Comparison> times{};  // nothing: it is absent
  double relative_error = 0;
};

// A measured case.
struct Row {
  std::string family, shape, dtype, implementation, checked_as{};
  double flops = 0, bytes = 0;
  Timing timing{};
  std::optional<Timing> warm{};  // on a device: the same operands at every launch
  Ceilings ceilings{};
  double relative_error = 0;
  std::vector<PeerRow> peers{};

  double gflops() const { return 1e-3 * flops / timing.median; }
  double gbs() const { return 1e-3 * bytes / timing.median; }
  double floor_us() const { return 1e-3 * std::max(flops / ceilings.gflops, bytes / ceilings.gbs); }
  double pct_floor() const { return 100 * floor_us() / timing.median; }
};

// Prints measured cases, writes them as JSON lines, and sums them up.
class KernelTable {
 public:
  // json: a file, or nothing. Throws Error where it cannot be written.
  KernelTable(std::string device, int threads, const std::string& json);

  const std::string& commit() const { return commit_; }
  void add(const Row& row);
  // A case without a time: its results are wrong.
  void add_fault(const std::string& family, const std::string& shape, const std::string& fault);
  // What a line of JSON begins with.
  nlohmann::ordered_json line(const std::string& family, const std::string& shape,
                              const std::string& dtype, const std::string& implementation) const;
  void write(const nlohmann::ordered_json& line);
  // Prints a header before the first case of a family.
  void begin(const std::string& family, const std::string& columns);

  void print_means() const;
  int failures() const { return failures_; }

 private:
  using Families = std::map<std::string, std::vector<double>>;
  static void print_families(const char* title, const Families& families);
  void print(const Row& row);
  void write(const Row& row);

  std::string device_;
  int threads_;
  std::string commit_, family_;
  std::ofstream json_;
  Families shares_, ratios_;
  std::vector<std::string> losses_;
  int failures_ = 0;
};

}  // namespace flyball::bench
