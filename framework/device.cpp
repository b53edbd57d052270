#include "framework/device.h"

#include <charconv>

#include "framework/device_runtime.h"
#include "kernels/error.h"

namespace flyball {

std::string Device::str() const { return kind == Kind::cpu ? "cpu" : flyball::str("cuda:", index); }

Device parse_device(const std::string& text) {
  if (text == "cpu") return {};
  int index = 0;
  bool good = text == "cuda";
  if (text.rfind("cuda:", 0) == 0) {
    const char* end = text.data() + text.size();
    const auto result = std::from_chars(text.data() + 5, end, index);
    good = result.ec == std::errc() && result.ptr == end && index >= 0;
  }
  if (!good) throw Error(str("device '", text, "': expected cpu, cuda or cuda:INDEX"));
#if FLYBALL_HAVE_CUDA
  int count = 0;
  try {
    count = cuda_device_count();
  } catch (const Error& error) {
    throw Error(str("device '", text, "': ", error.what()));
  }
  if (index >= count) throw Error(str("device '", text, "': expected an index below ", count));
  return {Device::Kind::cuda, index};
#else
  throw Error(str("device '", text, "': this build has no CUDA half, expected cpu"));
#endif
}

}  // namespace flyball
