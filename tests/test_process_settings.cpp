#include <doctest/doctest.h>

#include <thread>

#include "models/process_settings.h"

namespace flyball {
namespace {

float smallest() {
  volatile float x = 1.2e-38f;  // the least f32 with a full significand is 1.17549435e-38
  return x * 0.5f;
}

TEST_CASE("process: numbers without a full significand are 0 here and in threads started later") {
  float here = 1, below = 1;
  std::thread([&] {
    flush_subnormals();
    here = smallest();
    std::thread([&] { below = smallest(); }).join();
  }).join();
#ifdef __SSE2__
  CHECK(here == 0.0f);
  CHECK(below == 0.0f);
#endif
  CHECK(smallest() > 0.0f);  // other threads keep what they had
}

}  // namespace
}  // namespace flyball
