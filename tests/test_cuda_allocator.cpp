// What the caching allocator does beside the CPU's tests: blocks that several streams use, pools of
// captured graphs. Run with FLYBALL_ALLOCATOR=caching.

#include <cstdlib>

#include "framework/allocator.h"
#include "framework/tensor.h"
#include "tests/cuda_device.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

constexpr int64_t kBytes = 3 << 20;  // a size class that nothing else here uses

Tensor bytes_on(const Stream& stream) { return Tensor::empty(stream, {kBytes}, DType::u8); }

int64_t cached_bytes(const Stream& stream) {
  return allocator(stream.device()).counters().cached_bytes;
}

}  // namespace

TEST_CASE("allocator: a block that another stream uses is handed out again when that is done") {
  const Stream* cuda = cuda_stream();
  if (cuda == nullptr) return;
  const Stream other(cuda->device());
  Tensor first = bytes_on(*cuda);
  const void* memory = first.raw();
  first.copy_from(other, Tensor::zeros(other, {kBytes}, DType::u8));
  first.record_use(other);
  first = Tensor();
  // A real device is done at once or not; the simulated one says three times that it is not.
  const char* not_ready = std::getenv("SIMULATED_GPU_NOT_READY");
  std::vector<Tensor> taken;
  int requests = 0;
  do {
    taken.push_back(bytes_on(*cuda));
    ++requests;
    REQUIRE(requests < 100);
  } while (taken.back().raw() != memory);
  if (not_ready != nullptr) CHECK(requests == 1 + std::atoi(not_ready));
  taken.clear();
  allocator(cuda->device()).release_cached();
  CHECK(cached_bytes(*cuda) == 0);
}

TEST_CASE("allocator: a stream's cached blocks go with it") {
  const Stream* cuda = cuda_stream();
  if (cuda == nullptr) return;
  allocator(cuda->device()).release_cached();
  {
    const Stream other(cuda->device());
    bytes_on(other);
    CHECK(cached_bytes(*cuda) >= kBytes);
  }
  CHECK(cached_bytes(*cuda) == 0);
}

TEST_CASE("allocator: a pool's memory serves the pool alone, and goes with it") {
  const Stream* cuda = cuda_stream();
  if (cuda == nullptr) return;
  Allocator& memory = allocator(cuda->device());
  memory.release_cached();
  const int64_t live = memory.counters().live_bytes;
  Tensor survivor;
  {
    const MemoryPool pool(*cuda);
    pool.begin_use();
    const void* inside = bytes_on(*cuda).raw();
    pool.end_use();
    CHECK(bytes_on(*cuda).raw() != inside);
    memory.release_cached();
    CHECK(cached_bytes(*cuda) >= kBytes);  // the pool keeps its block for its graphs
    pool.begin_use();
    survivor = bytes_on(*cuda);
    CHECK(survivor.raw() == inside);
    pool.end_use();
  }
  const std::vector<uint8_t> written(static_cast<size_t>(kBytes), 7);
  copy_to_device(*cuda, survivor.mutable_raw(), written.data(), kBytes);
  CHECK(survivor.to_host<uint8_t>(*cuda) == written);  // its memory is still there
  survivor = Tensor();
  memory.release_cached();
  CHECK(cached_bytes(*cuda) == 0);
  CHECK(memory.counters().live_bytes == live);
}

TEST_CASE("allocator: out of memory says how much is where, and the allocator goes on") {
  const Stream* cuda = cuda_stream();
  if (cuda == nullptr) return;
  Allocator& memory = allocator(cuda->device());
  bytes_on(*cuda);  // something to give back
  const AllocatorCounters before = memory.counters();
  CHECK(before.cached_bytes > 0);
  const std::string error = error_of([&] { Tensor::empty(*cuda, {int64_t{1} << 50}, DType::u8); });
  CHECK(contains(error, "out of memory on cuda:0: requested 1125899906842624 bytes, free "));
  CHECK(contains(error, str("cached ", before.cached_bytes)));
  CHECK(memory.counters().live_bytes == before.live_bytes);
  CHECK(memory.counters().cached_bytes == 0);
  CHECK(bytes_on(*cuda).defined());
}
