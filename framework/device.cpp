#include "framework/device.h"

#include "kernels/error.h"

namespace flyball {

std::string Device::str() const { return kind == Kind::cpu ? "cpu" : flyball::str("cuda:", index); }

Device parse_device(const std::string& text) {
  if (text == "cpu") return {};
  if (text == "cuda" || text.rfind("cuda:", 0) == 0) {
    throw Error(str("device '", text, "': this build has no CUDA half, expected cpu"));
  }
  throw Error(str("device '", text, "': expected cpu, cuda or cuda:INDEX"));
}

}  // namespace flyball
