#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace flyball {

// Sizes of a dense row-major array, outermost first; at most six axes, no heap memory.
class Shape {
 public:
  static constexpr int kMaxRank = 6;

  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes);

  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return sizes_[static_cast<size_t>(axis)]; }
  int64_t count() const;  // number of elements; 1 for rank 0

  Shape with_first(int64_t size) const;  // the same shape with another first axis
  bool operator==(const Shape& other) const;
  std::string str() const;  // "[8,28,28,64]"

 private:
  std::array<int64_t, kMaxRank> sizes_{};
  int rank_ = 0;
};

std::ostream& operator<<(std::ostream& out, const Shape& shape);

}  // namespace flyball
