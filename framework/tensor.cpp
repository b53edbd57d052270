#include "framework/tensor.h"

#include <cstring>

#include "framework/allocator.h"
#include "framework/device_runtime.h"
#include "kernels/elementwise.h"

namespace flyball {

Buffer::Buffer(const Stream& stream, int64_t bytes)
    : device_(stream.device()),
      bytes_(bytes),
      allocator_(&allocator(device_)),
      stream_(stream.handle()),
      data_(static_cast<std::byte*>(allocator_->allocate(bytes, stream_))) {}

Buffer::Buffer(std::shared_ptr<Buffer> parent, int64_t offset_bytes, int64_t bytes)
    : device_(parent->device()),
      bytes_(bytes),
      data_(parent->data() + offset_bytes),
      parent_(std::move(parent)) {}

Buffer::Buffer(DeviceRuntime& runtime, int64_t bytes)
    : bytes_(bytes),
      pinned_for_(&runtime),
      data_(static_cast<std::byte*>(runtime.allocate_pinned(bytes))) {
  if (data_ == nullptr) throw Error(str("no pinned host memory of ", bytes, " bytes"));
}

Buffer::~Buffer() {
  if (pinned_for_ != nullptr) {
    pinned_for_->free_pinned(data_);
  } else if (parent_ == nullptr) {
    allocator_->free(data_, bytes_, stream_);
  }
}

void Buffer::record_use(const Stream& stream) const {
  if (parent_ != nullptr) return parent_->record_use(stream);
  if (allocator_ != nullptr && stream.handle() != stream_) {
    allocator_->record_use(data_, stream.handle());
  }
}

Tensor Tensor::empty(const Stream& stream, const Shape& shape, DType dtype) {
  Tensor tensor;
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
  tensor.buffer_ = std::make_shared<Buffer>(stream, tensor.bytes());
  return tensor;
}

Tensor Tensor::zeros(const Stream& stream, const Shape& shape, DType dtype) {
  Tensor tensor = empty(stream, shape, dtype);
  // All-zero bytes are zero in every dtype.
  device_runtime(stream.device())
      .fill_bytes(tensor.mutable_raw(), 0, tensor.bytes(), stream.handle());
  return tensor;
}

Tensor Tensor::pinned(const Stream& stream, const Shape& shape, DType dtype) {
  Tensor tensor;
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
  tensor.buffer_ = std::make_shared<Buffer>(device_runtime(stream.device()), tensor.bytes());
  return tensor;
}

void Tensor::record_use(const Stream& stream) const { buffer_->record_use(stream); }

void* Tensor::mutable_raw() {
  mark_written();
  return buffer_->data() + offset_;
}

void Tensor::require_dtype(DType dtype) const {
  if (!defined()) throw Error(str("tensor: undefined, expected ", name_of(dtype)));
  if (dtype != dtype_) {
    throw Error(str("tensor: dtype is ", name_of(dtype_), ", read as ", name_of(dtype)));
  }
}

Tensor Tensor::reshape(const Shape& shape) const {
  if (shape.count() != count()) {
    throw Error(
        str("reshape: ", shape_, " has ", count(), " elements, ", shape, " has ", shape.count()));
  }
  Tensor view = *this;
  view.shape_ = shape;
  return view;
}

Tensor Tensor::slice(int64_t begin, int64_t end) const {
  if (shape_.rank() == 0 || begin < 0 || begin > end || end > shape_[0]) {
    throw Error(str("slice: rows [", begin, ",", end, ") of shape ", shape_));
  }
  Tensor view = *this;
  view.shape_ = shape_.with_first(end - begin);
  const int64_t row_bytes = shape_[0] == 0 ? 0 : bytes() / shape_[0];
  view.offset_ += begin * row_bytes;
  return view;
}

Tensor Tensor::part(int64_t begin, const Shape& shape) const {
  if (begin < 0 || begin + shape.count() > count()) {
    throw Error(str("part: elements [", begin, ",", begin + shape.count(), ") of ", count()));
  }
  Tensor view;
  view.shape_ = shape;
  view.dtype_ = dtype_;
  view.buffer_ =
      std::make_shared<Buffer>(buffer_, offset_ + begin * bytes_of(dtype_), view.bytes());
  return view;
}

void Tensor::copy_from(const Stream& stream, const Tensor& from) {
  if (!(from.shape() == shape_) || from.dtype() != dtype_) {
    throw Error(str("copy: from ", name_of(from.dtype()), from.shape(), ", expected ",
                    name_of(dtype_), shape_));
  }
  run<cpu::copy, cuda::copy>(stream,
                             Copy{.from = from.raw(), .to = mutable_raw(), .bytes = bytes()});
}

Tensor Tensor::clone(const Stream& stream) const {
  Tensor copy = empty(stream, shape_, dtype_);
  copy.copy_from(stream, *this);
  return copy;
}

namespace {

template <class From, class To>
void cast_into(const Stream& stream, const Tensor& from, Tensor& to) {
  run<cpu::cast<From, To>, cuda::cast<From, To>>(
      stream, Cast<From, To>{
                  .from = from.data<From>(), .to = to.mutable_data<To>(), .count = from.count()});
}

}  // namespace

Tensor Tensor::cast(const Stream& stream, DType to) const {
  if (to == dtype_) return clone(stream);
  Tensor result = empty(stream, shape_, to);
  if (dtype_ == DType::f32 && to == DType::f64) {
    cast_into<float, double>(stream, *this, result);
  } else if (dtype_ == DType::f64 && to == DType::f32) {
    cast_into<double, float>(stream, *this, result);
  } else if (dtype_ == DType::u8 && to == DType::f32) {
    cast_into<uint8_t, float>(stream, *this, result);
  } else if (dtype_ == DType::i32 && to == DType::f32) {
    cast_into<int32_t, float>(stream, *this, result);
  } else if (dtype_ == DType::f32 && to == DType::bf16) {
    cast_into<float, bf16>(stream, *this, result);
  } else if (dtype_ == DType::bf16 && to == DType::f32) {
    cast_into<bf16, float>(stream, *this, result);
  } else {
    throw Error(str("cast: ", name_of(dtype_), " to ", name_of(to),
                    ", expected f32 to f64, f64 to f32, f32 to bf16, bf16 to f32, u8 to f32 or i32 "
                    "to f32"));
  }
  return result;
}

void Tensor::fill(const Stream& stream, double value) {
  dispatch_float(dtype_, "fill", [&](auto zero) {
    using T = decltype(zero);
    run<cpu::fill<T>, cuda::fill<T>>(stream, Fill<T>{.x = mutable_data<T>(),
                                                     .value = static_cast<Accumulator<T>>(value),
                                                     .count = count()});
  });
}

double Tensor::item(const Stream& stream) const {
  if (count() != 1) throw Error(str("item: shape is ", shape_, ", expected one element"));
  switch (dtype_) {
    case DType::f32:
      return to_host<float>(stream)[0];
    case DType::f64:
      return to_host<double>(stream)[0];
    case DType::i32:
      return to_host<int32_t>(stream)[0];
    case DType::u8:
      return to_host<uint8_t>(stream)[0];
    case DType::bf16:
      return static_cast<double>(to_float(to_host<bf16>(stream)[0]));
  }
  return 0;
}

Workspace::Workspace(const Stream& stream, int64_t bytes)
    : stream_(stream),
      bytes_(bytes),
      data_(allocator(stream.device()).allocate(bytes, stream.handle())) {}
Workspace::~Workspace() { allocator(stream_.device()).free(data_, bytes_, stream_.handle()); }

void copy_to_device(const Stream& stream, void* to, const void* from, int64_t bytes) {
  device_runtime(stream.device()).copy_to_device(to, from, bytes, stream.handle());
}

void copy_pinned(const Stream& stream, void* to, const void* from, int64_t bytes) {
  device_runtime(stream.device()).copy_pinned(to, from, bytes, stream.handle());
}

void copy_to_host(const Stream& stream, void* to, const void* from, int64_t bytes) {
  device_runtime(stream.device()).copy_to_host(to, from, bytes, stream.handle());
  stream.count_synchronization();
}

}  // namespace flyball
