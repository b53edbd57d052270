#include "framework/shape.h"

#include <ostream>

#include "kernels/error.h"

namespace flyball {

Shape::Shape(std::initializer_list<int64_t> sizes) {
  if (sizes.size() > kMaxRank) {
    throw Error(flyball::str("shape: ", sizes.size(), " axes, expected at most ", kMaxRank));
  }
  for (int64_t size : sizes) {
    if (size < 0) throw Error(flyball::str("shape: size ", size, " is negative"));
    sizes_[static_cast<size_t>(rank_++)] = size;
  }
}

int64_t Shape::count() const {
  int64_t count = 1;
  for (int axis = 0; axis < rank_; ++axis) count *= sizes_[static_cast<size_t>(axis)];
  return count;
}

Shape Shape::with_first(int64_t size) const {
  Shape shape = *this;
  shape.sizes_[0] = size;
  return shape;
}

bool Shape::operator==(const Shape& other) const {
  return rank_ == other.rank_ && sizes_ == other.sizes_;
}

std::string Shape::str() const {
  std::string text = "[";
  for (int axis = 0; axis < rank_; ++axis) {
    if (axis > 0) text += ',';
    text += std::to_string(sizes_[static_cast<size_t>(axis)]);
  }
  return text + "]";
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << shape.str(); }

}  // namespace flyball
