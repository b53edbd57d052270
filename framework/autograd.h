#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include "framework/tensor.h"

namespace flyball {

class Gradients;
class Recomputed;
struct GraphNode;

// How an operation sends its gradient back: reads gradients.dy(), writes gradients.target(i) for
// each wanted input. It holds Tensors, never Variables, so the graph has no cycles.
using BackwardFunction = std::function<void(Gradients& gradients)>;

// A tensor and how its gradient flows back. Copies share both.
class Variable {
 public:
  Variable() = default;
  explicit Variable(Tensor value, bool requires_gradient = false);

  // The result of an operation. Recorded only where gradients are enabled and an input wants one.
  // `operation` outlives the graph (a string literal).
  static Variable result(Tensor value, const char* operation,
                         std::initializer_list<const Variable*> inputs, BackwardFunction backward);

  const Tensor& value() const { return value_; }
  Tensor& mutable_value();
  const Shape& shape() const { return value_.shape(); }
  DType dtype() const { return value_.dtype(); }
  bool defined() const { return value_.defined(); }
  bool requires_gradient() const { return node_ != nullptr; }

  // Runs the graph back from this one-element variable with dy = 1, and frees the graph as it goes.
  // A leaf's first gradient since clear_gradient() is written, later ones are added.
  void backward(const Stream& stream) const;
  void backward(const Stream& stream, const Tensor& dy) const;  // any shape, dy of the same shape

  // Leaves only.
  const Tensor& gradient() const;  // undefined before the first backward pass
  bool has_gradient() const;       // written since clear_gradient()
  void clear_gradient();           // nothing is zeroed: the next gradient overwrites
  void set_gradient_memory(const Tensor& memory);  // gradients go there from now on

  Variable detach() const { return Variable(value_); }

  // From now on operations on this variable do not keep its value for their backward pass.
  void set_recomputed(std::shared_ptr<Recomputed> again);
  std::shared_ptr<Recomputed> recomputed() const;  // null: none, or written to since

 private:
  void run_backward(const Stream& stream, const Tensor& dy) const;
  GraphNode& leaf(const char* what) const;

  Tensor value_;
  std::shared_ptr<GraphNode> node_;
  std::shared_ptr<Recomputed> recomputed_;
  uint64_t recomputed_version_ = 0;
};

// Where an operation's backward pass writes one input's gradient: `=` or, with accumulate, `+=`.
struct GradientTarget {
  Tensor tensor;
  bool accumulate = false;
};

class Gradients {
 public:
  Gradients(const Stream& stream, GraphNode& node) : stream_(stream), node_(node) {}

  const Stream& stream() const { return stream_; }
  const Tensor& dy();      // gradient of the operation's result
  bool dy_is_one() const;  // this is the start of backward(): dy is the number 1
  Tensor
  dy_for_overwrite();  // memory of dy's shape: dy's own when nobody else holds it, fresh otherwise
  bool wants(size_t input) const;
  GradientTarget target(size_t input);  // only where wanted
  void pass(size_t input,
            const Tensor& tensor);  // adds a ready gradient; shares it where it is the first

 private:
  const Stream& stream_;
  GraphNode& node_;
};

// A value that the backward pass computes again, when it first asks for it, from tensors that are
// kept anyway; and that it holds until the last operation that saved it has run back.
class Recomputed {
 public:
  explicit Recomputed(std::function<Tensor(const Stream&)> compute)
      : compute_(std::move(compute)) {}
  const Tensor& get(const Stream& stream);

 private:
  std::function<Tensor(const Stream&)> compute_;
  Tensor value_;
};

// A tensor kept for the backward pass, or computed again there. get() throws, naming operation and
// tensor, if it was written since.
class SavedTensor {
 public:
  SavedTensor() = default;  // nothing kept
  SavedTensor(const Tensor& tensor, const char* what)
      : tensor_(tensor), version_(tensor.version()), what_(what) {}
  explicit SavedTensor(std::shared_ptr<Recomputed> recomputed)
      : recomputed_(std::move(recomputed)) {}
  SavedTensor(const Variable& x, const char* what);  // as x says
  const Tensor& get(const Stream& stream) const;

 private:
  Tensor tensor_;
  std::shared_ptr<Recomputed> recomputed_;
  uint64_t version_ = 0;
  const char* what_ = "";  // "conv2d: x"
};

// While one exists on a thread, operations on that thread record nothing.
class NoGradient {
 public:
  NoGradient();
  ~NoGradient();
  NoGradient(const NoGradient&) = delete;
  NoGradient& operator=(const NoGradient&) = delete;

 private:
  bool previous_;
};
bool gradients_enabled();

}  // namespace flyball
