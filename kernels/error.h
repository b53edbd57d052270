#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace flyball {

// The one exception type: its text is one line that says what, where, expected and got.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// str("gemm: n is ", 3) -> "gemm: n is 3"
template <class... Parts>
std::string str(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace flyball
