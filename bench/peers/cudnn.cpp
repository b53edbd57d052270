#include "bench/peers/device_peers.h"
#include "kernels/conv2d.h"

#if FLYBALL_HAVE_CUDNN

#include <cudnn.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "bench/device_timing.h"
#include "bench/peers/dynamic_library.h"
#include "framework/run.h"
#include "framework/tensor.h"
#include "kernels/copy.h"

namespace flyball::bench {
namespace {

constexpr int64_t kWorkspaceBytes = int64_t{256} << 20;
constexpr int kMostAlgorithms = 32;

struct Library {
  cudnnHandle_t handle = nullptr;
  decltype(&cudnnGetErrorString) error_string;
  decltype(&cudnnSetStream) set_stream;
  decltype(&cudnnCreateTensorDescriptor) create_tensor;
  decltype(&cudnnDestroyTensorDescriptor) destroy_tensor;
  decltype(&cudnnSetTensor4dDescriptor) set_tensor;
  decltype(&cudnnCreateFilterDescriptor) create_filter;
  decltype(&cudnnDestroyFilterDescriptor) destroy_filter;
  decltype(&cudnnSetFilter4dDescriptor) set_filter;
  decltype(&cudnnCreateConvolutionDescriptor) create_convolution;
  decltype(&cudnnDestroyConvolutionDescriptor) destroy_convolution;
  decltype(&cudnnSetConvolution2dDescriptor) set_convolution;
  decltype(&cudnnSetConvolutionMathType) set_math;
  decltype(&cudnnCreateActivationDescriptor) create_activation;
  decltype(&cudnnDestroyActivationDescriptor) destroy_activation;
  decltype(&cudnnSetActivationDescriptor) set_activation;
  decltype(&cudnnFindConvolutionForwardAlgorithmEx) find_forward;
  decltype(&cudnnFindConvolutionBackwardDataAlgorithmEx) find_data;
  decltype(&cudnnFindConvolutionBackwardFilterAlgorithmEx) find_weights;
  decltype(&cudnnConvolutionForward) forward;
  decltype(&cudnnConvolutionBiasActivationForward) forward_fused;
  decltype(&cudnnConvolutionBackwardData) backward_data;
  decltype(&cudnnConvolutionBackwardFilter) backward_weights;

  Library() {
    const DynamicLibrary file(str("libcudnn.so.", CUDNN_MAJOR));
    decltype(&cudnnCreate) create;
    file.find(create, "cudnnCreate");
    file.find(error_string, "cudnnGetErrorString");
    file.find(set_stream, "cudnnSetStream");
    file.find(create_tensor, "cudnnCreateTensorDescriptor");
    file.find(destroy_tensor, "cudnnDestroyTensorDescriptor");
    file.find(set_tensor, "cudnnSetTensor4dDescriptor");
    file.find(create_filter, "cudnnCreateFilterDescriptor");
    file.find(destroy_filter, "cudnnDestroyFilterDescriptor");
    file.find(set_filter, "cudnnSetFilter4dDescriptor");
    file.find(create_convolution, "cudnnCreateConvolutionDescriptor");
    file.find(destroy_convolution, "cudnnDestroyConvolutionDescriptor");
    file.find(set_convolution, "cudnnSetConvolution2dDescriptor");
    file.find(set_math, "cudnnSetConvolutionMathType");
    file.find(create_activation, "cudnnCreateActivationDescriptor");
    file.find(destroy_activation, "cudnnDestroyActivationDescriptor");
    file.find(set_activation, "cudnnSetActivationDescriptor");
    file.find(find_forward, "cudnnFindConvolutionForwardAlgorithmEx");
    file.find(find_data, "cudnnFindConvolutionBackwardDataAlgorithmEx");
    file.find(find_weights, "cudnnFindConvolutionBackwardFilterAlgorithmEx");
    file.find(forward, "cudnnConvolutionForward");
    file.find(forward_fused, "cudnnConvolutionBiasActivationForward");
    file.find(backward_data, "cudnnConvolutionBackwardData");
    file.find(backward_weights, "cudnnConvolutionBackwardFilter");
    check(create(&handle), "create");
  }
  void check(cudnnStatus_t status, const char* what) const {
    if (status != CUDNN_STATUS_SUCCESS) throw Error(str(what, ": ", error_string(status)));
  }
};

const Library& library() {
  static const Library library;
  return library;
}

constexpr float kOne = 1, kZero = 0;

// The descriptors of a convolution on NHWC data in T, and what algorithms share.
template <class T>
struct Shared {
  static constexpr cudnnDataType_t kType =
      std::is_same_v<T, bf16> ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;

  Shared(const Stream& on, const Conv2dShape& d, bool tf32)
      : stream(on), workspace(Tensor::empty(on, {kWorkspaceBytes}, DType::u8)) {
    dnn.check(dnn.set_stream(dnn.handle, static_cast<cudaStream_t>(stream.handle())), "stream");
    const auto i = [](int64_t size) { return static_cast<int>(size); };
    const auto tensor = [&](cudnnTensorDescriptor_t& desc, int64_t n, int64_t c, int64_t h,
                            int64_t w) {
      dnn.check(dnn.create_tensor(&desc), "tensor");
      dnn.check(dnn.set_tensor(desc, CUDNN_TENSOR_NHWC, kType, i(n), i(c), i(h), i(w)), "tensor");
    };
    tensor(x, d.n, d.c, d.h, d.w);
    tensor(y, d.n, d.k, d.p(), d.q());
    tensor(bias, 1, d.k, 1, 1);
    dnn.check(dnn.create_filter(&filters), "filters");
    dnn.check(dnn.set_filter(filters, kType, CUDNN_TENSOR_NHWC, i(d.k), i(d.c), i(d.r), i(d.s)),
              "filters");
    dnn.check(dnn.create_convolution(&convolution), "convolution");
    dnn.check(dnn.set_convolution(convolution, i(d.padding), i(d.padding), i(d.stride), i(d.stride),
                                  1, 1, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
              "convolution");
    // FMA: no tensor cores. Those work on bf16, and on f32 rounded to tf32.
    plain = std::is_same_v<T, float> && !tf32;
    dnn.check(dnn.set_math(convolution, plain ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH), "math");
  }
  ~Shared() {
    for (cudnnTensorDescriptor_t desc : {x, y, bias}) dnn.destroy_tensor(desc);
    dnn.destroy_filter(filters);
    dnn.destroy_convolution(convolution);
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  void* scratch() { return workspace.mutable_raw(); }

  const Library& dnn = library();
  const Stream& stream;
  Tensor workspace;
  cudnnTensorDescriptor_t x{}, y{}, bias{};
  cudnnFilterDescriptor_t filters{};
  cudnnConvolutionDescriptor_t convolution{};
  bool plain;
};
constexpr auto kScratchBytes = static_cast<size_t>(kWorkspaceBytes);

// The algorithms of one direction: find() lists them, run() enqueues one.
template <class T>
struct Forward : Shared<T> {
  using Arguments = Conv2dForward<T>;
  using Algorithm = cudnnConvolutionFwdAlgoPerf_t;
  Forward(const Stream& on, const Arguments& f) : Shared<T>(on, f.shape, f.tf32) {
    if (f.column_sums != nullptr) throw Error("has no column sums");
    if (f.bias == nullptr && f.relu) throw Error("has no ReLU without a bias");
    this->dnn.check(this->dnn.create_activation(&activation), "activation");
    this->dnn.check(this->dnn.set_activation(
                        activation, f.relu ? CUDNN_ACTIVATION_RELU : CUDNN_ACTIVATION_IDENTITY,
                        CUDNN_NOT_PROPAGATE_NAN, 0),
                    "activation");
    if constexpr (std::is_same_v<T, bf16>) {
      // Its bias has the type of its tensors: a copy, made once.
      if (f.bias != nullptr) {
        own_bias = Tensor::empty(on, {f.shape.k}, DType::bf16);
        flyball::run<nullptr, cuda::cast<float, bf16>>(
            on, Cast<float, bf16>{.from = f.bias,
                                  .to = static_cast<bf16*>(own_bias.mutable_raw()),
                                  .count = f.shape.k});
      }
    }
  }
  ~Forward() { this->dnn.destroy_activation(activation); }

  cudnnStatus_t find(const Arguments& f, int* count, Algorithm* found) {
    return this->dnn.find_forward(this->dnn.handle, this->x, f.x, this->filters, f.filters,
                                  this->convolution, this->y, f.y, kMostAlgorithms, count, found,
                                  this->scratch(), kScratchBytes);
  }
  cudnnStatus_t run(const Arguments& f, const Algorithm& a) {
    if (f.bias == nullptr) {
      return this->dnn.forward(this->dnn.handle, &kOne, this->x, f.x, this->filters, f.filters,
                               this->convolution, a.algo, this->scratch(), kScratchBytes, &kZero,
                               this->y, f.y);
    }
    const void* bias = own_bias.defined() ? own_bias.raw() : static_cast<const void*>(f.bias);
    return this->dnn.forward_fused(this->dnn.handle, &kOne, this->x, f.x, this->filters, f.filters,
                                   this->convolution, a.algo, this->scratch(), kScratchBytes,
                                   &kZero, this->y, f.y, this->bias, bias, activation, this->y,
                                   f.y);
  }
  static constexpr bool kDelivers = false;

  cudnnActivationDescriptor_t activation{};
  Tensor own_bias;
};

template <class T>
struct BackwardData : Shared<T> {
  using Arguments = Conv2dBackwardData<T>;
  using Algorithm = cudnnConvolutionBwdDataAlgoPerf_t;
  BackwardData(const Stream& on, const Arguments& b) : Shared<T>(on, b.shape, b.tf32) {}

  cudnnStatus_t find(const Arguments& b, int* count, Algorithm* found) {
    return this->dnn.find_data(this->dnn.handle, this->filters, b.filters, this->y, b.dy,
                               this->convolution, this->x, b.dx, kMostAlgorithms, count, found,
                               this->scratch(), kScratchBytes);
  }
  cudnnStatus_t run(const Arguments& b, const Algorithm& a) {
    return this->dnn.backward_data(this->dnn.handle, &kOne, this->filters, b.filters, this->y, b.dy,
                                   this->convolution, a.algo, this->scratch(), kScratchBytes,
                                   b.accumulate ? &kOne : &kZero, this->x, b.dx);
  }
  static constexpr bool kDelivers = false;
};

// In bf16 it leaves bf16 where ours leaves f32: in memory of its own, converted for the check.
template <class T>
struct BackwardWeights : Shared<T> {
  using Arguments = Conv2dBackwardWeights<T>;
  using Algorithm = cudnnConvolutionBwdFilterAlgoPerf_t;
  static constexpr bool kDelivers = std::is_same_v<T, bf16>;
  BackwardWeights(const Stream& on, const Arguments& b) : Shared<T>(on, b.shape, b.tf32) {
    if constexpr (kDelivers) {
      if (b.accumulate) throw Error("does not add to f32");
      own = Tensor::empty(on, {b.shape.k, b.shape.r, b.shape.s, b.shape.c}, DType::bf16);
    }
  }

  void* target(const Arguments& b) { return kDelivers ? own.mutable_raw() : b.dfilters; }
  cudnnStatus_t find(const Arguments& b, int* count, Algorithm* found) {
    return this->dnn.find_weights(this->dnn.handle, this->x, b.x, this->y, b.dy, this->convolution,
                                  this->filters, target(b), kMostAlgorithms, count, found,
                                  this->scratch(), kScratchBytes);
  }
  cudnnStatus_t run(const Arguments& b, const Algorithm& a) {
    return this->dnn.backward_weights(this->dnn.handle, &kOne, this->x, b.x, this->y, b.dy,
                                      this->convolution, a.algo, this->scratch(), kScratchBytes,
                                      b.accumulate ? &kOne : &kZero, this->filters, target(b));
  }
  void deliver(const Arguments& b) {
    flyball::run<nullptr, cuda::cast<bf16, float>>(
        this->stream,
        Cast<bf16, float>{
            .from = static_cast<const bf16*>(own.raw()), .to = b.dfilters, .count = own.count()});
  }

  Tensor own;
};

// Find's list with every entry timed on the call that is compared, the fused one.
template <class Direction>
void add_offers(const Stream& stream, const typename Direction::Arguments& arguments,
                std::vector<DevicePeer>& offers) {
  using Arguments = typename Direction::Arguments;
  using Algorithm = typename Direction::Algorithm;
  auto direction = std::make_shared<Direction>(stream, arguments);
  const Library& dnn = direction->dnn;
  std::vector<Algorithm> found(kMostAlgorithms);
  int count = 0;
  dnn.check(direction->find(arguments, &count, found.data()), "find");
  const auto enqueue = [direction](const Arguments& on, const Algorithm& algorithm) {
    direction->dnn.set_math(direction->convolution, algorithm.mathType);
    return direction->run(on, algorithm);
  };
  const auto possible = [&](const Algorithm& a) {
    const bool right = !direction->plain || a.mathType == CUDNN_FMA_MATH;
    return right && a.status == CUDNN_STATUS_SUCCESS && a.memory <= kScratchBytes;
  };
  const auto fastest = [&](bool deterministic) {
    return fastest_of(
        stream, count,
        [&](int i) {
          return enqueue(arguments, found[static_cast<size_t>(i)]) == CUDNN_STATUS_SUCCESS;
        },
        [&](int i) {
          const Algorithm& a = found[static_cast<size_t>(i)];
          return possible(a) && (!deterministic || a.determinism == CUDNN_DETERMINISTIC);
        });
  };
  const auto add = [&](const char* name, int i) {
    DevicePeer peer{
        name, [enqueue, algorithm = found[static_cast<size_t>(i)], &dnn](const std::any& other) {
          dnn.check(enqueue(std::any_cast<const Arguments&>(other), algorithm), "run");
        }};
    if constexpr (Direction::kDelivers) {
      peer.deliver = [direction](const std::any& other) {
        direction->deliver(std::any_cast<const Arguments&>(other));
      };
    }
    offers.push_back(std::move(peer));
  };
  const int best = fastest(false);
  if (best < 0) throw Error("no algorithm for this convolution");
  add("cudnn", best);
  if (found[static_cast<size_t>(best)].determinism == CUDNN_DETERMINISTIC) return;
  const int repeatable = fastest(true);
  if (repeatable >= 0) add("cudnn deterministic", repeatable);
}

}  // namespace

DevicePeers offer_cudnn(const Stream& stream, const std::any& arguments) {
  DevicePeers peers;
  const auto offer = [&]<class Direction>(std::type_identity<Direction>) {
    with_held<typename Direction::Arguments>(arguments, [&](const auto& held) {
      peers.library = "cudnn";
      try {
        add_offers<Direction>(stream, held, peers.offers);
      } catch (const Error& error) {
        peers.absent = error.what();
      }
    });
  };
  const auto offer_each = [&]<class... Direction>() {
    (offer(std::type_identity<Direction>{}), ...);
  };
  offer_each
      .template operator()<Forward<float>, Forward<bf16>, BackwardData<float>, BackwardData<bf16>,
                           BackwardWeights<float>, BackwardWeights<bf16>>();
  return peers;
}

}  // namespace flyball::bench

#else

namespace flyball::bench {

DevicePeers offer_cudnn(const Stream&, const std::any& arguments) {
  DevicePeers peers;
  with_held<Conv2dForward<float>, Conv2dForward<bf16>, Conv2dBackwardData<float>,
            Conv2dBackwardData<bf16>, Conv2dBackwardWeights<float>, Conv2dBackwardWeights<bf16>>(
      arguments,
      [&](const auto&) { peers = {.library = "cudnn", .absent = "built without cudnn.h"}; });
  return peers;
}

}  // namespace flyball::bench

#endif
