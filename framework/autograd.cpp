#include "framework/autograd.h"

#include <atomic>
#include <queue>

#include "framework/run.h"
#include "kernels/elementwise.h"

namespace flyball {

// One recorded operation, or a leaf (no backward function, memory that outlives the graph). Nodes
// are numbered as they are made, so descending numbers are a valid order for the backward pass.
struct GraphNode {
  const char* operation = "leaf";
  uint64_t number = 0;
  bool is_leaf = true;
  bool freed = false;   // a backward pass has been here
  bool queued = false;  // waits in the running backward pass
  bool has_gradient = false;
  bool gradient_is_one = false;
  Shape shape;
  DType dtype = DType::f32;
  Tensor gradient;
  BackwardFunction backward;
  std::vector<std::shared_ptr<GraphNode>> inputs;  // null where no gradient is wanted

  // Unlinks a long chain step by step; letting each node destroy the next would overflow the stack.
  ~GraphNode() {
    std::vector<std::shared_ptr<GraphNode>> pending = std::move(inputs);
    while (!pending.empty()) {
      std::shared_ptr<GraphNode> node = std::move(pending.back());
      pending.pop_back();
      if (node == nullptr || node.use_count() > 1) continue;
      for (auto& input : node->inputs) pending.push_back(std::move(input));
      node->inputs.clear();
    }
  }
};

namespace {

thread_local bool recording = true;
std::atomic<uint64_t> next_number{1};

struct EarlierFirst {
  bool operator()(const std::shared_ptr<GraphNode>& a, const std::shared_ptr<GraphNode>& b) const {
    return a->number < b->number;
  }
};

// Calls the node's backward function, then drops what it held.
void run_node(const Stream& stream, GraphNode& node,
              std::vector<std::shared_ptr<GraphNode>>& reached) {
  if (node.has_gradient) {
    Gradients gradients(stream, node);
    node.backward(gradients);
  }
  node.backward = nullptr;
  node.gradient = Tensor();
  node.has_gradient = node.gradient_is_one = false;
  node.freed = true;
  reached.swap(node.inputs);
}

// The operations that a running backward pass has reached, latest first.
class Frontier {
 public:
  ~Frontier() {
    while (!queue_.empty()) pop();  // after an exception: nothing stays marked
  }
  bool empty() const { return queue_.empty(); }
  void push(std::shared_ptr<GraphNode> node) {
    if (node == nullptr || node->is_leaf || node->queued) return;
    node->queued = true;
    queue_.push(std::move(node));
  }
  std::shared_ptr<GraphNode> pop() {
    std::shared_ptr<GraphNode> node = queue_.top();
    queue_.pop();
    node->queued = false;
    return node;
  }

 private:
  std::priority_queue<std::shared_ptr<GraphNode>, std::vector<std::shared_ptr<GraphNode>>,
                      EarlierFirst>
      queue_;
};

void run_graph(const Stream& stream, const std::shared_ptr<GraphNode>& root) {
  Frontier frontier;
  frontier.push(root);
  std::vector<std::shared_ptr<GraphNode>> reached;
  while (!frontier.empty()) {
    const std::shared_ptr<GraphNode> node = frontier.pop();
    if (node->freed) {
      throw Error(str("backward: the graph of ", node->operation,
                      " was freed by an earlier backward pass; compute it again"));
    }
    run_node(stream, *node, reached);
    for (auto& input : reached) frontier.push(std::move(input));
    reached.clear();
  }
}

}  // namespace

Variable::Variable(Tensor value, bool requires_gradient) : value_(std::move(value)) {
  if (!requires_gradient) return;
  node_ = std::make_shared<GraphNode>();
  node_->shape = value_.shape();
  node_->dtype = value_.dtype();
}

Variable Variable::result(Tensor value, const char* operation,
                          std::initializer_list<const Variable*> inputs,
                          BackwardFunction backward) {
  Variable y(std::move(value));
  bool wanted = false;
  for (const Variable* input : inputs) wanted = wanted || input->requires_gradient();
  if (!wanted || !recording) return y;
  y.node_ = std::make_shared<GraphNode>();
  y.node_->operation = operation;
  y.node_->number = next_number++;
  y.node_->is_leaf = false;
  y.node_->shape = y.shape();
  y.node_->dtype = y.dtype();
  y.node_->backward = std::move(backward);
  y.node_->inputs.reserve(inputs.size());
  for (const Variable* input : inputs) y.node_->inputs.push_back(input->node_);
  return y;
}

void Variable::backward(const Stream& stream) const {
  if (value_.count() != 1) {
    throw Error(str("backward: shape is ", shape(), ", expected one element or a given dy"));
  }
  run_backward(stream, Tensor());
}

void Variable::backward(const Stream& stream, const Tensor& dy) const {
  if (!(dy.shape() == shape()) || dy.dtype() != dtype()) {
    throw Error(str("backward: dy is ", name_of(dy.dtype()), dy.shape(), ", expected ",
                    name_of(dtype()), shape()));
  }
  run_backward(stream, dy);
}

// dy: undefined stands for the number 1.
void Variable::run_backward(const Stream& stream, const Tensor& dy) const {
  if (!requires_gradient()) throw Error("backward: the variable does not require a gradient");
  if (node_->is_leaf) {  // one operation on top, so that the leaf receives dy like any other
    return Variable::result(value_, "identity", {this},
                            [](Gradients& gradients) { gradients.pass(0, gradients.dy()); })
        .run_backward(stream, dy);
  }
  node_->has_gradient = true;
  node_->gradient = dy;
  node_->gradient_is_one = !dy.defined();
  run_graph(stream, node_);
}

GraphNode& Variable::leaf(const char* what) const {
  if (node_ == nullptr || !node_->is_leaf) {
    throw Error(str(what, ": only a leaf that requires a gradient has one"));
  }
  return *node_;
}

const Tensor& Variable::gradient() const { return leaf("gradient").gradient; }
bool Variable::has_gradient() const { return leaf("has_gradient").has_gradient; }
void Variable::clear_gradient() { leaf("clear_gradient").has_gradient = false; }

void Variable::set_gradient_memory(const Tensor& memory) {
  GraphNode& node = leaf("set_gradient_memory");
  if (!(memory.shape() == node.shape) || memory.dtype() != node.dtype) {
    throw Error(str("set_gradient_memory: memory is ", name_of(memory.dtype()), memory.shape(),
                    ", expected ", name_of(node.dtype), node.shape));
  }
  node.gradient = memory;
  node.has_gradient = false;
}

const Tensor& Gradients::dy() {
  if (!node_.gradient.defined()) {
    node_.gradient = Tensor::empty(stream_, node_.shape, node_.dtype);
    node_.gradient.fill(stream_, 1);
  }
  return node_.gradient;
}

bool Gradients::dy_is_one() const { return node_.gradient_is_one; }

Tensor Gradients::dy_for_overwrite() {
  const Tensor& gradient = dy();
  return gradient.exclusive() ? gradient : Tensor::empty(stream_, node_.shape, node_.dtype);
}

bool Gradients::wants(size_t input) const { return node_.inputs[input] != nullptr; }

GradientTarget Gradients::target(size_t input) {
  GraphNode& node = *node_.inputs[input];
  if (!node.gradient.defined()) {
    node.gradient = Tensor::empty(stream_, node.shape, node.dtype);
  } else if (node.has_gradient && !node.is_leaf && !node.gradient.exclusive()) {
    node.gradient = node.gradient.clone(stream_);  // shared by pass(): others still read it
  }
  const bool accumulate = node.has_gradient;
  node.has_gradient = true;
  return {node.gradient, accumulate};
}

void Gradients::pass(size_t input, const Tensor& tensor) {
  GraphNode& node = *node_.inputs[input];
  if (!node.is_leaf && !node.has_gradient) {
    node.gradient = tensor.reshape(node.shape);
    node.has_gradient = true;
    return;
  }
  GradientTarget destination = target(input);
  dispatch_float(tensor.dtype(), "pass", [&](auto zero) {
    using T = decltype(zero);
    run<cpu::scale<T>, cuda::scale<T>>(stream_, Scale<T>{.x = tensor.data<T>(),
                                                         .y = destination.tensor.mutable_data<T>(),
                                                         .alpha = 1,
                                                         .count = tensor.count(),
                                                         .accumulate = destination.accumulate});
  });
}

Tensor& Variable::mutable_value() {
  recomputed_ = nullptr;
  return value_;
}

void Variable::set_recomputed(std::shared_ptr<Recomputed> again) {
  recomputed_ = std::move(again);
  recomputed_version_ = value_.version();
}

std::shared_ptr<Recomputed> Variable::recomputed() const {
  return recomputed_ != nullptr && value_.version() == recomputed_version_ ? recomputed_ : nullptr;
}

const Tensor& Recomputed::get(const Stream& stream) {
  if (compute_ != nullptr) {
    value_ = compute_(stream);
    compute_ = nullptr;  // and with it what it took
  }
  return value_;
}

SavedTensor::SavedTensor(const Variable& x, const char* what) : recomputed_(x.recomputed()) {
  if (recomputed_ == nullptr) *this = SavedTensor(x.value(), what);
}

const Tensor& SavedTensor::get(const Stream& stream) const {
  if (recomputed_ != nullptr) return recomputed_->get(stream);
  if (tensor_.version() != version_) {
    throw Error(str(what_, " was written in place after it was saved for the backward pass"));
  }
  return tensor_;
}

NoGradient::NoGradient() : previous_(recording) { recording = false; }
NoGradient::~NoGradient() { recording = previous_; }
bool gradients_enabled() { return recording; }

}  // namespace flyball
