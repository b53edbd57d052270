#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "framework/device.h"
#include "framework/dtype.h"
#include "framework/shape.h"
#include "framework/stream.h"

namespace flyball {

class Allocator;
class DeviceRuntime;

// Memory of one logical tensor and the count of its in-place writes. A part of a larger buffer has
// its own count.
class Buffer {
 public:
  Buffer(const Stream& stream, int64_t bytes);
  Buffer(std::shared_ptr<Buffer> parent, int64_t offset_bytes, int64_t bytes);
  Buffer(DeviceRuntime& runtime, int64_t bytes);  // host memory pinned for the runtime's device
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::byte* data() const { return data_; }
  Device device() const { return device_; }
  int64_t bytes() const { return bytes_; }
  void record_use(const Stream& stream) const;

  uint64_t version = 0;

 private:
  Device device_;
  int64_t bytes_;
  Allocator* allocator_ = nullptr;
  DeviceRuntime* pinned_for_ = nullptr;
  void* stream_ = nullptr;  // handle of the stream that the memory belongs to
  std::byte* data_ = nullptr;
  std::shared_ptr<Buffer> parent_;  // null: owns its memory
};

// A dense row-major array on one device. Copies share the memory; reshape and slice of the first
// axis are the only views. Fresh memory is uninitialised.
class Tensor {
 public:
  Tensor() = default;
  static Tensor empty(const Stream& stream, const Shape& shape, DType dtype = DType::f32);
  static Tensor zeros(const Stream& stream, const Shape& shape, DType dtype = DType::f32);
  // Host memory that the stream's device copies from and to without the host (copy_pinned).
  static Tensor pinned(const Stream& stream, const Shape& shape, DType dtype = DType::f32);
  template <class T>
  static Tensor from_host(const Stream& stream, const Shape& shape, std::span<const T> values);

  bool defined() const { return buffer_ != nullptr; }
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  Device device() const { return buffer_->device(); }
  int64_t count() const { return shape_.count(); }
  int64_t bytes() const { return count() * bytes_of(dtype_); }

  template <class T>
  const T* data() const;
  template <class T>
  T* mutable_data();  // counts as an in-place write: saved tensors that share this memory become
                      // invalid
  const void* raw() const { return buffer_->data() + offset_; }
  void* mutable_raw();

  uint64_t version() const { return buffer_->version; }
  void mark_written() { ++buffer_->version; }
  void record_use(const Stream& stream) const;  // by a stream beside the one it belongs to
  bool exclusive() const { return buffer_.use_count() == 1; }  // nobody else holds this memory

  Tensor reshape(const Shape& shape) const;  // same element count, shared memory
  Tensor slice(int64_t begin,
               int64_t end) const;  // rows [begin, end) of the first axis, shared memory
  Tensor part(int64_t begin,
              const Shape& shape) const;  // elements from `begin` as a logical tensor of its own

  void copy_from(const Stream& stream, const Tensor& from);  // same shape and dtype, enqueued
  Tensor clone(const Stream& stream) const;
  Tensor cast(const Stream& stream,
              DType dtype) const;  // f32 <-> f64, f32 <-> bf16, u8 -> f32, i32 -> f32
  void fill(const Stream& stream, double value);  // f32, f64 or bf16

  // The host waits for the stream (counted), then reads.
  template <class T>
  std::vector<T> to_host(const Stream& stream) const;
  double item(const Stream& stream) const;  // the only element, as a number

 private:
  void require_dtype(DType dtype) const;

  std::shared_ptr<Buffer> buffer_;
  int64_t offset_ = 0;  // bytes
  Shape shape_;
  DType dtype_ = DType::f32;
};

// One trivially copyable struct in device memory.
template <class T>
class DeviceValue {
 public:
  DeviceValue(const Stream& stream, const T& value);
  T* get() const { return reinterpret_cast<T*>(buffer_->data()); }
  void set(const Stream& stream,
           const T& value);            // enqueued; the value is copied before the call returns
  T read(const Stream& stream) const;  // the host waits (counted)

 private:
  std::shared_ptr<Buffer> buffer_;
};

}  // namespace flyball

#include "framework/tensor_inline.h"
