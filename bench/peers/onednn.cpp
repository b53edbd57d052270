#include "kernels/cpu/onednn.h"
#include "bench/peers/peers.h"

#if FLYBALL_HAVE_ONEDNN

#include <algorithm>
#include <dnnl.hpp>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernels/batch_norm.h"
#include "kernels/gemm.h"
#include "kernels/pool2d.h"

namespace flyball::bench {
namespace {

using dnnl::memory;
using dnnl::prop_kind;
using Tag = memory::format_tag;
using Type = memory::data_type;

// A primitive with its operands; our arrays are bound, what is missing is allocated.
struct Bound {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::primitive primitive;
  std::unordered_map<int, memory> arguments;

  void bind(int argument, const memory::desc& desc, const void* data) {
    arguments.emplace(argument, memory(desc, engine, const_cast<void*>(data)));
  }
  memory allocate(int argument, const memory::desc& desc) {
    return arguments.emplace(argument, memory(desc, engine)).first->second;
  }
  void run() {
    primitive.execute(stream, arguments);
    stream.wait();
  }
};

// NHWC data of c channels as oneDNN sees it: [n, c, h, w], channels last.
memory::desc image(int64_t n, int64_t c, int64_t h, int64_t w, Type type = Type::f32) {
  return {{n, c, h, w}, type, Tag::nhwc};
}

Peer peer(const std::shared_ptr<Bound>& bound, std::vector<std::string> leaves) {
  return {"onednn", [bound] { bound->run(); }, std::move(leaves)};
}

void offer(const Gemm<float>& g, std::vector<Peer>& peers) {
  if (std::min({g.m, g.n, g.k}) < 1) return;
  peers.push_back({"onednn", [g] {
                     cpu::onednn::multiply({.a = g.a,
                                            .b = g.b,
                                            .c = g.c,
                                            .lda = g.transpose_a ? g.m : g.k,
                                            .ldb = g.transpose_b ? g.k : g.n,
                                            .ldc = g.n,
                                            .m = g.m,
                                            .n = g.n,
                                            .k = g.k,
                                            .transpose_a = g.transpose_a,
                                            .transpose_b = g.transpose_b,
                                            .accumulate = g.accumulate});
                     if (g.bias != nullptr || g.relu) {
                       cpu::add_bias_relu(g.c, g.n, g.bias, g.m, g.n, g.relu);
                     }
                   }});
}

// Flyball's own path through oneDNN, with the layout that the primitive likes best for the filters.
void offer(const Conv2dForward<float>& f, std::vector<Peer>& peers) {
  if (cpu::onednn::conv2d_forward(f))
    peers.push_back({"onednn", [f] { cpu::onednn::conv2d_forward(f); }});
}
void offer(const Conv2dBackwardData<float>& b, std::vector<Peer>& peers) {
  peers.push_back({"onednn", [b] { cpu::onednn::conv2d_backward_data(b); }});
}
void offer(const Conv2dBackwardWeights<float>& b, std::vector<Peer>& peers) {
  peers.push_back({"onednn", [b] { cpu::onednn::conv2d_backward_weights(b); }});
}

void offer(const MaxPool2dForward<float>& f, std::vector<Peer>& peers) {
  const Pool2dShape& d = f.shape;
  const memory::dims pad{d.padding, d.padding};
  const dnnl::pooling_forward::desc desc(
      f.argmax != nullptr ? prop_kind::forward_training : prop_kind::forward_inference,
      dnnl::algorithm::pooling_max, image(d.n, d.c, d.h, d.w), image(d.n, d.c, d.p(), d.q()),
      {d.stride, d.stride}, {d.window, d.window}, pad, pad);
  dnnl::primitive_attr attributes;
  if (f.relu) {
    dnnl::post_ops after;
    after.append_eltwise(1.0F, dnnl::algorithm::eltwise_relu, 0.0F, 0.0F);
    attributes.set_post_ops(after);
  }
  auto bound = std::make_shared<Bound>();
  const dnnl::pooling_forward::primitive_desc plan(desc, attributes, bound->engine);
  bound->primitive = dnnl::pooling_forward(plan);
  bound->bind(DNNL_ARG_SRC, plan.src_desc(), f.x);
  bound->bind(DNNL_ARG_DST, plan.dst_desc(), f.y);
  if (f.argmax != nullptr) bound->allocate(DNNL_ARG_WORKSPACE, plan.workspace_desc());
  peers.push_back(peer(bound, {"argmax"}));
}

void offer(const BatchNormForward<float>& f, std::vector<Peer>& peers) {
  if (f.residual != nullptr || f.column_sums != nullptr) return;
  using dnnl::normalization_flags;
  auto flags = normalization_flags::use_scale | normalization_flags::use_shift;
  if (f.relu) flags |= normalization_flags::fuse_norm_relu;
  const dnnl::batch_normalization_forward::desc desc(
      prop_kind::forward_training, image(f.rows, f.c, 1, 1), static_cast<float>(f.eps), flags);
  auto bound = std::make_shared<Bound>();
  const dnnl::batch_normalization_forward::primitive_desc plan(desc, bound->engine);
  bound->primitive = dnnl::batch_normalization_forward(plan);
  bound->bind(DNNL_ARG_SRC, plan.src_desc(), f.x);
  bound->bind(DNNL_ARG_DST, plan.dst_desc(), f.y);
  const memory::desc channels({f.c}, Type::f32, Tag::a);
  bound->bind(DNNL_ARG_SCALE, channels, f.gamma);
  bound->bind(DNNL_ARG_SHIFT, channels, f.beta);
  bound->bind(DNNL_ARG_MEAN, channels, f.mean);
  bound->allocate(DNNL_ARG_VARIANCE, channels);
  if (f.relu) bound->allocate(DNNL_ARG_WORKSPACE, plan.workspace_desc());
  peers.push_back(peer(bound, {"inv_std", "running_mean", "running_var"}));
}

template <class... Arguments>
void offer_each(const std::any& arguments, std::vector<Peer>& peers) {
  (if_holds<Arguments>(arguments, [&](const Arguments& held) { offer(held, peers); }), ...);
}

}  // namespace

void offer_onednn(const std::any& arguments, std::vector<Peer>& peers) {
  cpu::onednn::use_one_thread();
  offer_each<Gemm<float>, Conv2dForward<float>, Conv2dBackwardData<float>,
             Conv2dBackwardWeights<float>, MaxPool2dForward<float>, BatchNormForward<float>>(
      arguments, peers);
}

}  // namespace flyball::bench

#else

namespace flyball::bench {

void offer_onednn(const std::any&, std::vector<Peer>&) {}

}  // namespace flyball::bench

#endif
