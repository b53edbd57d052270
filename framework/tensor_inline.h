#pragma once

// Template members of framework/tensor.h.

#include "framework/run.h"
#include "kernels/copy.h"

namespace flyball {

template <class T>
const T* Tensor::data() const {
  require_dtype(dtype_of<T>());
  return reinterpret_cast<const T*>(buffer_->data() + offset_);
}

template <class T>
T* Tensor::mutable_data() {
  require_dtype(dtype_of<T>());
  mark_written();
  return reinterpret_cast<T*>(buffer_->data() + offset_);
}

template <class T>
Tensor Tensor::from_host(const Stream& stream, const Shape& shape, std::span<const T> values) {
  if (static_cast<int64_t>(values.size()) != shape.count()) {
    throw Error(
        str("tensor: ", values.size(), " values for shape ", shape, ", expected ", shape.count()));
  }
  Tensor tensor = empty(stream, shape, dtype_of<T>());
  copy_to_device(stream, tensor.mutable_raw(), values.data(), tensor.bytes());
  return tensor;
}

template <class T>
std::vector<T> Tensor::to_host(const Stream& stream) const {
  std::vector<T> values(static_cast<size_t>(count()));
  copy_to_host(stream, values.data(), data<T>(), bytes());
  return values;
}

template <class T>
DeviceValue<T>::DeviceValue(const Stream& stream, const T& value)
    : buffer_(std::make_shared<Buffer>(stream, static_cast<int64_t>(sizeof(T)))) {
  set(stream, value);
}

template <class T>
void DeviceValue<T>::set(const Stream& stream, const T& value) {
  copy_to_device(stream, get(), &value, sizeof(T));
}

template <class T>
T DeviceValue<T>::read(const Stream& stream) const {
  T value;
  copy_to_host(stream, &value, get(), sizeof(T));
  return value;
}

}  // namespace flyball
