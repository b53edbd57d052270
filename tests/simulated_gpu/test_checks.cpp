#include "tests/simulated_gpu/test_support.h"

// Planted bugs: each check must catch its own, name kernel, line, block and thread, and let the
// correct twin pass.
namespace flyball::simulated_gpu {
namespace {

constexpr Options kRace{.race_check = true};

// "kernels/planted_bugs.cu:12": where the text stands.
std::string place_of(const std::string& text) {
  const std::string file = __FILE__;
  std::istringstream source(
      read_file(file.substr(0, file.rfind('/')) + "/kernels/planted_bugs.cu"));
  std::string line;
  for (int number = 1; std::getline(source, line); ++number)
    if (contains(line, text)) return "kernels/planted_bugs.cu:" + std::to_string(number) + " ";
  return "not found: " + text;
}

struct Planted : TestDevice {
  explicit Planted(bool track = false)
      : TestDevice(track), module(load_test_module(*this, "planted_bugs")) {}
  template <class... A>
  std::string fault(const char* kernel, Dim3 grid, Dim3 block, const Options& options,
                    A... arguments) {
    return TestDevice::fault(*module, kernel, grid, block, options, arguments...);
  }
  std::unique_ptr<Module> module;
};

TEST_CASE("planted bug: a missing __syncthreads is a race, in every warp order") {
  for (const WarpOrder order :
       {WarpOrder::kForward, WarpOrder::kReverse, WarpOrder::kRandom, WarpOrder::kOneAhead}) {
    Planted device;
    float *x = device.array(std::vector<float>(128, 1.0f)), *sum = device.array<float>(1);
    Options options = kRace;
    options.warp_order = order;
    CHECK(device.fault("reduce", {1}, {128}, options, x, sum, 1) == "no fault");
    CHECK(*sum == 128);
    const std::string message = device.fault("reduce", {1}, {128}, options, x, sum, 0);
    CHECK(contains(message, "race in shared memory"));
    CHECK(contains(message, "kernel reduce"));
    CHECK(contains(message, "at " + place_of("part[threadIdx.x + half]")));
    CHECK(contains(message, "block (0, 0, 0) thread ("));
    CHECK(contains(message, "not ordered with " + place_of("part[threadIdx.x + half]")));
  }
}

TEST_CASE(
    "planted bug: without the race check, an order of warps shows the missing barrier as a wrong "
    "sum") {
  bool wrong = false;
  for (const WarpOrder order :
       {WarpOrder::kForward, WarpOrder::kReverse, WarpOrder::kRandom, WarpOrder::kOneAhead}) {
    Planted device;
    float *x = device.array(std::vector<float>(128, 1.0f)), *sum = device.array<float>(1);
    CHECK(device.fault("reduce", {1}, {128}, {.warp_order = order}, x, sum, 0) == "no fault");
    wrong |= !(*sum == 128);
  }
  CHECK(wrong);
}

TEST_CASE("planted bug: exchange within a warp without __syncwarp is a race") {
  Planted device;
  int* x = device.array(std::vector<int>(32, 1));
  CHECK(device.fault("swap_within_warp", {1}, {32}, kRace, x, 1) == "no fault");
  CHECK(contains(device.fault("swap_within_warp", {1}, {32}, kRace, x, 0), "read after write"));
}

TEST_CASE("planted bug: a missing wait for cp.async leaves NaN in the tile") {
  Planted device;
  float *x = device.array(std::vector<float>(256, 2.0f)), *y = device.array<float>(256);
  CHECK(device.fault("copy_async", {1}, {64}, kRace, x, y, 1) == "no fault");
  CHECK(y[17] == 2.0f);
  CHECK(device.fault("copy_async", {1}, {64}, {}, x, y, 0) == "no fault");
  CHECK(std::isnan(y[17]));
  CHECK(contains(device.fault("copy_async", {1}, {64}, {.uninitialised_check = true}, x, y, 0),
                 "uninitialised read"));
}

TEST_CASE("planted bug: out of bounds by one element, reading and writing") {
  Planted device;
  float *x = device.array(std::vector<float>(100, 1.0f), "input"),
        *y = device.array<float>(100, "output");
  CHECK(device.fault("copy_all", {4}, {32}, {}, x, y, 100) == "no fault");
  float* longer = device.array(std::vector<float>(101, 1.0f), "longer");
  std::string message = device.fault("copy_all", {4}, {32}, {}, x, longer, 101);
  CHECK(contains(message, "out of bounds: bytes 400 to 404 of 'input', which has 400"));
  CHECK(contains(message, "block (3, 0, 0) thread (4, 0, 0)"));
  message = device.fault("copy_all", {4}, {32}, {}, longer, y, 101);
  CHECK(contains(message, "'output'"));
  CHECK(contains(message, "st.global"));
}

TEST_CASE("planted bug: outside shared memory, outside a local array") {
  Planted device;
  float* y = device.array(std::vector<float>(64));
  CHECK(device.fault("shared_index", {1}, {64}, {}, y, 0) == "no fault");
  CHECK(contains(device.fault("shared_index", {1}, {64}, {}, y, 1),
                 "out of bounds: bytes 256 to 260 of shared memory"));
  CHECK(device.fault("local_index", {1}, {32}, {}, y, 8) == "no fault");
  CHECK(contains(device.fault("local_index", {1}, {32}, {}, y, 9), "of local memory"));
}

TEST_CASE("planted bug: a misaligned float4") {
  Planted device;
  float *x = device.array(std::vector<float>(160)), *y = device.array<float>(128);
  CHECK(device.fault("read_four", {1}, {32}, {}, x, y, 4) == "no fault");
  CHECK(contains(device.fault("read_four", {1}, {32}, {}, x, y, 1), "misaligned address"));
}

TEST_CASE(
    "planted bug: a barrier in divergent code, an exit before a barrier, lanes missing at a "
    "shuffle") {
  Planted device;
  int* x = device.array(std::vector<int>(96));
  CHECK(device.fault("divergent_barrier", {1}, {96}, {}, x, 96) == "no fault");
  CHECK(contains(device.fault("divergent_barrier", {1}, {96}, {}, x, 70),
                 "barrier in divergent code"));
  CHECK(
      contains(device.fault("divergent_barrier", {1}, {96}, {}, x, 64), "exited before a barrier"));
  CHECK(device.fault("early_exit", {1}, {96}, {}, x, 96) == "no fault");
  CHECK(contains(device.fault("early_exit", {1}, {96}, {}, x, 70), "barrier in divergent code"));
  CHECK(contains(device.fault("early_exit", {1}, {96}, {}, x, 64),
                 "32 of 96 threads exited before a barrier"));
  CHECK(device.fault("missing_lanes", {1}, {64}, {}, x, 64) == "no fault");
  CHECK(contains(device.fault("missing_lanes", {1}, {64}, {}, x, 40),
                 "lanes are missing at a warp operation"));
}

TEST_CASE("planted bug: two blocks write one cell; atomics may") {
  Planted device;
  int* x = device.array(std::vector<int>(1), "cell");
  CHECK(device.fault("one_cell", {3}, {32}, kRace, x, 1) == "no fault");
  CHECK(*x == 3);
  const std::string message = device.fault("one_cell", {3}, {32}, kRace, x, 0);
  CHECK(contains(message, "race between blocks in global memory"));
  CHECK(contains(message, "'cell'"));
  CHECK(contains(message, "block (1, 0, 0)"));
  CHECK(contains(message, "block (0, 0, 0)"));
}

TEST_CASE("planted bug: the last block adds up partial sums that no fence has published") {
  Planted device;
  float *x = device.array(std::vector<float>(8, 1.0f)), *partial = device.array<float>(8),
        *sum = device.array<float>(1);
  CHECK(device.fault("last_block", {8}, {32}, kRace, x, partial,
                     device.array(std::vector<unsigned>(1)), sum, 1) == "no fault");
  CHECK(*sum == 8);
  CHECK(contains(device.fault("last_block", {8}, {32}, kRace, x, partial,
                              device.array(std::vector<unsigned>(1)), sum, 0),
                 "read after write"));
}

TEST_CASE("planted bug: use after free") {
  Planted device;
  float *x = device.array(std::vector<float>(100), "gone"), *y = device.array<float>(100);
  CHECK(device.fault("copy_all", {4}, {32}, {}, x, y, 100) == "no fault");
  CHECK(device.memory->free(x));
  CHECK_FALSE(device.memory->free(x));
  CHECK(contains(device.fault("copy_all", {4}, {32}, {}, x, y, 100),
                 "use after free: byte 0 of freed 'gone'"));
}

TEST_CASE("planted bug: reads of what was never written, in shared and in global memory") {
  Planted device(true);
  const Options check{.uninitialised_check = true};
  float* y = device.array<float>(100, "never");
  CHECK(device.fault("uninitialised_shared", {1}, {32}, check, y, 1) == "no fault");
  CHECK(contains(device.fault("uninitialised_shared", {1}, {32}, check, y, 0),
                 "uninitialised read: byte 124 of shared memory"));
  float* z = device.array<float>(100);
  CHECK(device.fault("copy_all", {1}, {32}, check, y, z, 32) ==
        "no fault");  // what the kernel itself wrote
  CHECK(contains(device.fault("copy_all", {2}, {32}, check, y, z, 33),
                 "uninitialised read: byte 128 of 'never'"));
}

}  // namespace
}  // namespace flyball::simulated_gpu
