// How the benchmarks compare samples, and the lines they write.

#include <fstream>

#include "bench/kernel_rows.h"
#include "bench/simulated_counters.h"
#include "tests/file_helpers.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::bench;
using namespace flyball::testing;

namespace {

// Gives the values in turn.
auto cycle(std::vector<double> values) {
  return [values, i = size_t{0}]() mutable { return values[i++ % values.size()]; };
}

Row row_with(std::vector<PeerRow> peers) {
  Row row{.family = "gemm", .shape = "nn 2x2x2", .dtype = "bf16", .implementation = "flyball"};
  row.flops = 16000;
  row.bytes = 3000;
  row.timing = {.median = 2, .p10 = 1, .p90 = 3, .least = 1};
  row.ceilings = {.gflops = 16, .gbs = 1};
  row.peers = std::move(peers);
  return row;
}

std::vector<nlohmann::json> written(const Row& row) {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "rows.jsonl").string();
  {
    KernelTable table("cuda", 1, path);
    table.add(row);
  }
  std::vector<nlohmann::json> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

}  // namespace

TEST_CASE("bench: a ratio is the peer's time over ours, and a tie one within our own spread") {
  const Comparison twice = compare_samples(cycle({1e-6}), cycle({2e-6}), 0);
  CHECK(twice.ratio == doctest::Approx(2));
  CHECK(twice.other_us == doctest::Approx(2));
  CHECK_FALSE(twice.tie());
  // A round takes two samples of each: ours differ by a tenth, up and down in turn.
  const Comparison close = compare_samples(cycle({1.0, 1.1, 1.1, 1.0}), cycle({1.05}), 0);
  CHECK(close.ratio == doctest::Approx(1));
  CHECK(close.tie());
}

TEST_CASE("bench: a row without peers, with one that is absent, and with one that was timed") {
  const auto keys = [](const nlohmann::json& line) {
    std::string text;
    for (const auto& item : line.items()) text += item.key() + " ";
    return text;
  };
  const std::string ours =
      "case commit device dtype floor_us gbs gflops implementation p10 p90 pct_floor ";
  const std::vector<nlohmann::json> alone = written(row_with({}));
  REQUIRE(alone.size() == 1);
  CHECK(keys(alone[0]) == ours + "relative_error shape threads us ");
  CHECK(alone[0]["gflops"] == doctest::Approx(8));
  CHECK(alone[0]["gbs"] == doctest::Approx(1.5));
  CHECK(alone[0]["floor_us"] == doctest::Approx(3));
  CHECK(alone[0]["pct_floor"] == doctest::Approx(150));

  Row row = row_with({{.implementation = "cudnn"},
                      {.implementation = "cublaslt",
                       .times = Comparison{.other_us = 4, .ratio = 2, .low = 0.9, .high = 1.1},
                       .relative_error = 1e-3}});
  row.warm = Timing{.median = 1.5};
  const std::vector<nlohmann::json> lines = written(row);
  REQUIRE(lines.size() == 2);
  CHECK(keys(lines[0]) ==
        ours + "peer peer_implementation relative_error shape threads us warm_us ");
  CHECK(lines[0]["peer"] == "absent");
  CHECK(lines[0]["peer_implementation"] == "cudnn");
  CHECK(keys(lines[1]) == ours +
                              "peer peer_implementation peer_relative_error peer_us ratio "
                              "ratio_spread relative_error shape threads tie us warm_us ");
  CHECK(lines[1]["peer"] == "cuda");
  CHECK(lines[1]["ratio"] == 2);
  CHECK(lines[1]["tie"] == false);
}

TEST_CASE("bench: the name of a kernel is its function's") {
  const auto name = [](const char* text) { return short_name({{"kernel", text}}); };
  CHECK(name("flyball::cuda::gemm_kernel<float, flyball::cuda::Tile<64, 2>>") == "gemm");
  CHECK(name("flyball::cuda::sum_groups_kernel(flyball::Sums<float>)") == "sum_groups");
  CHECK(name("fill") == "fill");
}
