// What a CUDA device, real or simulated, says when something is wrong, and what works afterwards.

#include <dlfcn.h>

#include <cstdlib>

#include "framework/allocator.h"
#include "framework/device_runtime.h"
#include "kernels/cuda/recent_launches.h"
#include "kernels/elementwise.h"
#include "tests/cuda_device.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;

namespace {

// A tensor of `bytes` that holds ones, as a kernel wrote them.
Tensor ones(const Stream& stream, int64_t bytes) {
  Tensor x = Tensor::empty(stream, {bytes / 4}, DType::f32);
  cuda::fill(Fill<float>{.x = x.mutable_data<float>(), .value = 1, .count = bytes / 4},
             static_cast<cudaStream_t>(stream.handle()));
  return x;
}

}  // namespace

TEST_CASE("cuda device: an index beyond the last device is refused, and the first one works on") {
  if (cuda_stream() == nullptr) return;
  CHECK(contains(error_of([] { parse_device("cuda:64"); }),
                 "device 'cuda:64': expected an index below "));
  CHECK(ones(*cuda_stream(), 400).to_host<float>(*cuda_stream()) == std::vector<float>(100, 1));
}

TEST_CASE(
    "cuda device: out of memory says what was asked and what is there; all works afterwards") {
  const Stream* stream = cuda_stream();
  if (stream == nullptr) return;
  Allocator& memory = allocator(stream->device());
  memory.release_cached();
  const int64_t free = device_runtime(stream->device()).free_bytes();
  const int64_t live = memory.counters().live_bytes;
  const Tensor kept = ones(*stream, 4000);

  // More than half of the memory twice in turn: the cache is given back for the second, which has
  // another size.
  { const Tensor x = Tensor::empty(*stream, {free / 10 * 6}, DType::u8); }
  { const Tensor x = Tensor::empty(*stream, {free / 10 * 7}, DType::u8); }

  const int64_t bytes = 2 * free;
  const std::string text = error_of([&] { Tensor::empty(*stream, {bytes}, DType::u8); });
  CHECK(contains(text, str("out of memory on cuda:0: requested ", bytes, " bytes")));
  for (const char* part : {", free ", ", cached ", ", live "}) CHECK(contains(text, part));
  CHECK(text.find('\n') == std::string::npos);

  CHECK(memory.counters().live_bytes == live + 4000);
  CHECK(kept.to_host<float>(*stream) == std::vector<float>(1000, 1));
  CHECK(ones(*stream, 400).to_host<float>(*stream) == std::vector<float>(100, 1));
}

TEST_CASE("cuda device: recent_launches names kernels and places, the newest first") {
  const Stream* stream = cuda_stream();
  if (stream == nullptr) return;
  ones(*stream, 400);
  Tensor x = Tensor::empty(*stream, {100}, DType::f32);
  cuda::add(
      Add<float>{
          .a = x.data<float>(), .b = x.data<float>(), .y = x.mutable_data<float>(), .count = 100},
      static_cast<cudaStream_t>(stream->handle()));
  const std::string text = cuda::recent_launches();
  CHECK(text.starts_with("add at kernels/cuda/elementwise.cu:"));
  CHECK(contains(text, ", fill at kernels/cuda/elementwise.cu:"));
  stream->synchronize();
}

// The last case, in a process of its own: after a fault no call to the device succeeds.
TEST_CASE("cuda fault: the error names the kernel and where it was launched" *
          doctest::skip(std::getenv("FLYBALL_TEST_FAULT") == nullptr)) {
  const Stream* stream = cuda_stream();
  if (stream == nullptr) return;
  // Address 4096 belongs to nobody.
  const Fill<float> wild{.x = reinterpret_cast<float*>(4096), .value = 1, .count = 8};
  const std::string text = error_of([&] {
    cuda::fill(wild, static_cast<cudaStream_t>(stream->handle()));
    stream->synchronize();
  });
  MESSAGE(text);
  CHECK(contains(text, "an illegal memory access"));
  CHECK(contains(text, "fill at kernels/cuda/elementwise.cu:"));
  const bool blocking = std::getenv("CUDA_LAUNCH_BLOCKING") != nullptr;
  CHECK(text.starts_with(blocking ? "fill: " : "cuda: "));

  using TakeProblems = int (*)(char*, size_t);
  const auto take =
      reinterpret_cast<TakeProblems>(dlsym(RTLD_DEFAULT, "simulated_gpu_take_problems"));
  if (take == nullptr) return;
  std::vector<char> problems(4096);
  CHECK(take(problems.data(), problems.size()) == 1);
  CHECK(contains(problems.data(), "fill_kernel"));
}
