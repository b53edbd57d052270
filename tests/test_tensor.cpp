#include <numeric>

#include "framework/allocator.h"
#include "framework/learning_rate.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

TEST_CASE("shape: counts, compares and prints") {
  CHECK(Shape({2, 3, 4}).count() == 24);
  CHECK(Shape().count() == 1);
  CHECK(Shape({0, 5}).count() == 0);
  CHECK(Shape({8, 28, 28, 64}).str() == "[8,28,28,64]");
  CHECK(Shape({2, 3}) == Shape({2, 3}));
  CHECK_FALSE(Shape({2, 3}) == Shape({2, 3, 1}));
  CHECK(Shape({9, 3}).with_first(2) == Shape({2, 3}));
  CHECK(error_of([] { Shape({2, -1}); }) == "shape: size -1 is negative");
  CHECK(contains(error_of([] { Shape({1, 1, 1, 1, 1, 1, 1}); }), "7 axes, expected at most 6"));
}

TEST_CASE("device: names are parsed, and what this build lacks is said") {
  CHECK(parse_device("cpu") == Device{});
  // The text of the machine at hand: no CUDA half, no device, or not that many.
  CHECK(contains(error_of([] { parse_device("cuda:99"); }), "device 'cuda:99': "));
  CHECK(contains(error_of([] { parse_device("cuda:-1"); }), "expected cpu, cuda or cuda:INDEX"));
  CHECK(contains(error_of([] { parse_device("cuda:1x"); }), "expected cpu, cuda or cuda:INDEX"));
  CHECK(contains(error_of([] { parse_device("gpu"); }), "expected cpu, cuda or cuda:INDEX"));
}

TEST_CASE("stream: host synchronisations are counted") {
  const Stream stream;
  const Tensor tensor = Tensor::zeros(stream, {3});
  Event event;
  event.record(stream);
  stream.wait(event);
  CHECK(event.ready());
  CHECK(stream.host_synchronizations() == 0);
  tensor.to_host<float>(stream);
  CHECK(stream.host_synchronizations() == 1);
  event.synchronize();
  CHECK(stream.host_synchronizations() == 2);
}

TEST_CASE("tensor: host round trip, zeros, fill, clone and cast") {
  const std::vector<double> values{1.5, -2, 3, 1e-3};
  const Tensor x = tensor_of({2, 2}, values);
  CHECK(values_of(x) == values);
  CHECK(values_of(Tensor::zeros(stream(), {3}, DType::f64)) == std::vector<double>{0, 0, 0});
  Tensor copy = x.clone(stream());
  copy.fill(stream(), 7);
  CHECK(values_of(copy) == std::vector<double>{7, 7, 7, 7});
  CHECK(values_of(x) == values);
  const Tensor narrow = x.cast(stream(), DType::f32);
  CHECK(narrow.to_host<float>(stream())[3] == 1e-3F);
  CHECK(Tensor::zeros(stream(), {2}, DType::u8)
            .cast(stream(), DType::f32)
            .to_host<float>(stream())[1] == 0);
  CHECK(labels_of({5}).item(stream()) == 5);
}

TEST_CASE("tensor: views share memory, parts have a version of their own") {
  Tensor x = tensor_of({3, 2}, {0, 1, 2, 3, 4, 5});
  Tensor rows = x.slice(1, 3);
  CHECK(values_of(rows) == std::vector<double>{2, 3, 4, 5});
  CHECK(values_of(x.reshape({2, 3}).slice(1, 2)) == std::vector<double>{3, 4, 5});
  const uint64_t before = x.version();
  rows.fill(stream(), 9);
  CHECK(values_of(x) == std::vector<double>{0, 1, 9, 9, 9, 9});
  CHECK(x.version() > before);
  Tensor part = x.part(2, {2});
  const uint64_t unchanged = x.version();
  part.fill(stream(), 8);
  CHECK(values_of(x) == std::vector<double>{0, 1, 8, 8, 9, 9});
  CHECK(x.version() == unchanged);
}

TEST_CASE("tensor: wrong use is refused with one line") {
  const Tensor x = tensor_of({3, 2}, {0, 1, 2, 3, 4, 5});
  CHECK(error_of([&] { x.data<float>(); }) == "tensor: dtype is f64, read as f32");
  CHECK(contains(error_of([&] { Tensor().data<float>(); }), "undefined"));
  CHECK(contains(error_of([&] { x.reshape({5}); }), "[3,2] has 6 elements"));
  CHECK(contains(error_of([&] { x.slice(2, 4); }), "rows [2,4) of shape [3,2]"));
  CHECK(contains(error_of([&] { x.part(5, {2}); }), "elements [5,7) of 6"));
  CHECK(contains(error_of([&] { x.item(stream()); }), "expected one element"));
  CHECK(contains(error_of([&] { x.cast(stream(), DType::u8); }), "f64 to u8"));
  Tensor y = Tensor::empty(stream(), {2, 3}, DType::f64);
  CHECK(contains(error_of([&] { y.copy_from(stream(), x); }), "from f64[3,2], expected f64[2,3]"));
}

TEST_CASE("tensor: bf16 has storage on the CPU and no arithmetic") {
  Tensor x = Tensor::empty(stream(), {4}, DType::bf16);
  CHECK(x.bytes() == 8);
  CHECK(contains(error_of([&] { x.fill(stream(), 1); }),
                 "bf16 is computed on CUDA devices, this is cpu"));
}

TEST_CASE("allocator: blocks are reused and counted, memory comes aligned") {
  Allocator& memory = allocator({});
  const AllocatorCounters before = memory.counters();
  void* first = memory.allocate(1000, stream().handle());
  CHECK(reinterpret_cast<uintptr_t>(first) % 64 == 0);
  CHECK(memory.counters().live_bytes == before.live_bytes + 1000);
  memory.free(first, 1000, stream().handle());
  CHECK(memory.counters().live_bytes == before.live_bytes);
  if (!allocator_is_passthrough()) {
    CHECK(memory.counters().cached_bytes >= 1000);
    const int64_t segments = memory.counters().system_allocations;
    void* second = memory.allocate(990, stream().handle());
    CHECK(second == first);
    CHECK(memory.counters().system_allocations == segments);
    memory.free(second, 990, stream().handle());
  } else {
    CHECK(memory.counters().cached_bytes == 0);
  }
  CHECK(contains(error_of([&] { memory.allocate(int64_t{1} << 60, stream().handle()); }),
                 "out of memory on cpu: requested 1152921504606846976 bytes"));
  CHECK(memory.counters().live_bytes == before.live_bytes);
}

TEST_CASE("allocator: memory of several freed blocks serves a larger one, and can be given back") {
  if (allocator_is_passthrough()) return;
  Allocator& memory = allocator({});
  memory.release_cached();
  constexpr int64_t kMiB = 1 << 20;
  std::vector<void*> blocks;
  for (int i = 0; i < 3; ++i) blocks.push_back(memory.allocate(8 * kMiB, stream().handle()));
  const AllocatorCounters with_blocks = memory.counters();
  for (void* block : blocks) memory.free(block, 8 * kMiB, stream().handle());
  CHECK(memory.counters().cached_bytes == with_blocks.cached_bytes + 24 * kMiB);
  void* all = memory.allocate(24 * kMiB, stream().handle());
  CHECK(all == blocks.front());
  CHECK(memory.counters().system_allocations == with_blocks.system_allocations);
  memory.free(all, 24 * kMiB, stream().handle());
  memory.release_cached();
  CHECK(memory.counters().cached_bytes < with_blocks.cached_bytes + 24 * kMiB);
  // Small blocks come from elsewhere.
  void* small = memory.allocate(1000, stream().handle());
  void* large = memory.allocate(kMiB, stream().handle());
  CHECK(std::abs(static_cast<std::byte*>(small) - static_cast<std::byte*>(large)) > kMiB);
  memory.free(small, 1000, stream().handle());
  memory.free(large, kMiB, stream().handle());
}

TEST_CASE("device value: a struct goes there and back") {
  const DeviceValue<StepSignals> signals(stream(), StepSignals{.step = 4, .loss = 0.5});
  const StepSignals copy = signals.read(stream());
  CHECK(copy.step == 4);
  CHECK(copy.loss == 0.5);
}
