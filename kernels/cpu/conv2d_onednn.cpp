#include "kernels/cpu/onednn.h"

#if FLYBALL_HAVE_ONEDNN

#include <algorithm>
#include <array>
#include <dnnl.hpp>
#include <map>
#include <string>
#include <unordered_map>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scratch.h"

// Activations stay in our channel-last layout; the filters are reordered to whatever the primitive
// likes best. The batch is cut into groups of a fixed size, whatever the number of threads.
namespace flyball::cpu::onednn {
namespace {

using dnnl::algorithm;
using dnnl::memory;

constexpr int64_t kImagesPerGroup = 8;     // forward, backward data: a group stays near the cache
constexpr int64_t kImagesPerPartial = 16;  // backward weights: each group has its own dfilters

enum class Pass : uint8_t { kForward, kBackwardData, kBackwardWeights };

struct Options {
  Pass pass = Pass::kForward;
  bool bias = false;
  bool relu = false;
};

const dnnl::engine& engine() {
  // Never destroyed: pool threads may still hold primitives when the process ends.
  static const dnnl::engine& instance = *new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return instance;
}

dnnl::stream& stream() {
  thread_local dnnl::stream instance(engine());
  return instance;
}

memory unbound(const memory::desc& desc) { return memory(desc, engine(), DNNL_MEMORY_NONE); }

// One convolution of a fixed shape, owned by one thread. (oneDNN itself shares the compiled code
// of equal primitives between threads.)
struct Plan {
  bool usable = false;  // oneDNN has more than its slow reference code
  dnnl::primitive primitive;
  memory plain, arranged;     // the filters in our layout and in the primitive's
  dnnl::primitive rearrange;  // from one to the other, where they differ
  size_t scratchpad_bytes = 0;
  std::unordered_map<int, memory> arguments;

  bool same_layout() const { return plain.get_desc() == arranged.get_desc(); }
  int64_t arranged_count() const {
    return static_cast<int64_t>(arranged.get_desc().get_size() / sizeof(float));
  }

  void set_filters(const memory::dims& dims, const memory::desc& desc, bool output) {
    plain = unbound({dims, memory::data_type::f32, memory::format_tag::ohwi});
    arranged = unbound(desc);
    arguments.emplace(output ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, unbound(desc));
    if (!same_layout()) {
      rearrange = output ? dnnl::reorder(arranged, plain) : dnnl::reorder(plain, arranged);
    }
  }

  template <class PrimitiveDesc>
  bool accept(const PrimitiveDesc& desc) {
    if (std::string(desc.impl_info_str()).find("ref") != std::string::npos) return false;
    scratchpad_bytes = desc.scratchpad_desc().get_size();
    arguments.emplace(DNNL_ARG_SCRATCHPAD, unbound(desc.scratchpad_desc()));
    return true;
  }

  void bind(int argument, const float* data) {
    // oneDNN's handles are not const, its inputs are.
    arguments.at(argument).set_data_handle(const_cast<float*>(data));
  }

  void run_rearrange(memory& from, const float* source, memory& to, float* target) {
    from.set_data_handle(const_cast<float*>(source));
    to.set_data_handle(target);
    rearrange.execute(stream(), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
  }

  void run() {
    arguments.at(DNNL_ARG_SCRATCHPAD)
        .set_data_handle(scratch<struct Scratchpad, char>(static_cast<int64_t>(scratchpad_bytes)));
    primitive.execute(stream(), arguments);
  }
};

Plan make_plan(const Conv2dShape& d, const Options& options) {
  using tag = memory::format_tag;
  const auto f32 = memory::data_type::f32;
  const auto direct = algorithm::convolution_direct;
  const memory::dims filter_dims{d.k, d.c, d.r, d.s}, strides{d.stride, d.stride},
      padding{d.padding, d.padding};
  const memory::desc x({d.n, d.c, d.h, d.w}, f32, tag::nhwc);
  const memory::desc y({d.n, d.k, d.p(), d.q()}, f32, tag::nhwc);
  const memory::desc filters(filter_dims, f32, tag::any);
  const memory::desc bias = options.bias ? memory::desc({d.k}, f32, tag::x) : memory::desc();

  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  dnnl::primitive_attr forward_attributes = attributes;
  if (options.relu) {
    dnnl::post_ops relu;
    relu.append_eltwise(1.0f, algorithm::eltwise_relu, 0.0f, 0.0f);
    forward_attributes.set_post_ops(relu);
  }

  Plan plan;
  try {
    const dnnl::convolution_forward::primitive_desc forward(
        {dnnl::prop_kind::forward_training, direct, x, filters, bias, y, strides, padding, padding},
        forward_attributes, engine());
    if (options.pass == Pass::kForward) {
      if (!plan.accept(forward)) return plan;
      plan.primitive = dnnl::convolution_forward(forward);
      plan.set_filters(filter_dims, forward.weights_desc(), false);
      plan.arguments.emplace(DNNL_ARG_SRC, unbound(x));
      plan.arguments.emplace(DNNL_ARG_DST, unbound(y));
      if (options.bias) plan.arguments.emplace(DNNL_ARG_BIAS, unbound(bias));
    } else if (options.pass == Pass::kBackwardData) {
      const dnnl::convolution_backward_data::primitive_desc backward(
          {direct, x, filters, y, strides, padding, padding}, attributes, engine(), forward);
      if (!plan.accept(backward)) return plan;
      plan.primitive = dnnl::convolution_backward_data(backward);
      plan.set_filters(filter_dims, backward.weights_desc(), false);
      plan.arguments.emplace(DNNL_ARG_DIFF_DST, unbound(y));
      plan.arguments.emplace(DNNL_ARG_DIFF_SRC, unbound(x));
    } else {
      const dnnl::convolution_backward_weights::primitive_desc backward(
          {direct, x, filters, y, strides, padding, padding}, attributes, engine(), forward);
      if (!plan.accept(backward)) return plan;
      plan.primitive = dnnl::convolution_backward_weights(backward);
      plan.set_filters(filter_dims, backward.diff_weights_desc(), true);
      plan.arguments.emplace(DNNL_ARG_SRC, unbound(x));
      plan.arguments.emplace(DNNL_ARG_DIFF_DST, unbound(y));
    }
    plan.usable = true;
  } catch (const dnnl::error& error) {
    if (error.status != dnnl_unimplemented) throw;
  }
  return plan;
}

// The calling thread's plan for d with the batch replaced by images.
Plan& plan_for(Conv2dShape d, int64_t images, const Options& options) {
  use_one_thread();
  d.n = images;
  using Key = std::array<int64_t, 12>;
  thread_local std::map<Key, Plan> plans;
  const Key key{static_cast<int64_t>(options.pass),
                options.bias,
                options.relu,
                d.n,
                d.h,
                d.w,
                d.c,
                d.k,
                d.r,
                d.s,
                d.stride,
                d.padding};
  auto found = plans.find(key);
  if (found == plans.end()) found = plans.emplace(key, make_plan(d, options)).first;
  return found->second;
}

// A batch as groups of one size and perhaps a smaller last one.
struct Groups {
  int64_t images, width;
  int64_t full() const { return images / width; }
  int64_t count() const { return (images + width - 1) / width; }
  int64_t size(int64_t group) const { return group < full() ? width : images % width; }
};

// oneDNN 2.6 on AVX2 writes past its scratchpad in the filter gradient of a strided 1x1 convolution
// when the channels do not fill a vector.
bool overruns_scratchpad(const Conv2dShape& d, Pass pass) {
  return pass == Pass::kBackwardWeights && d.r == 1 && d.s == 1 && d.stride > 1 && d.c % 8 != 0;
}

bool usable(const Conv2dShape& d, const Groups& groups, const Options& options) {
  if (overruns_scratchpad(d, options.pass)) return false;
  return plan_for(d, groups.size(0), options).usable &&
         plan_for(d, groups.size(groups.count() - 1), options).usable;
}

// The filters in the format that a group's plan asks for: of the full groups, then of the last.
struct Filters {
  const float* of_full = nullptr;
  const float* of_last = nullptr;
};

Filters arrange(const float* filters, const Conv2dShape& d, const Groups& groups,
                const Options& options) {
  const auto arrange_for = [&](Plan& plan, float* to) -> const float* {
    if (plan.same_layout()) return filters;
    plan.run_rearrange(plan.plain, filters, plan.arranged, to);
    return to;
  };
  Plan& first = plan_for(d, groups.size(0), options);
  Plan& last = plan_for(d, groups.size(groups.count() - 1), options);
  float* to =
      scratch<struct ArrangedFilters, float>(first.arranged_count() + last.arranged_count());
  Filters result;
  result.of_full = arrange_for(first, to);
  result.of_last = last.arranged.get_desc() == first.arranged.get_desc()
                       ? result.of_full
                       : arrange_for(last, to + first.arranged_count());
  return result;
}

}  // namespace

bool conv2d_forward(const Conv2dForward<float>& f) {
  const Conv2dShape& d = f.shape;
  const Options options{Pass::kForward, f.bias != nullptr, f.relu};
  const Groups groups{d.n, kImagesPerGroup};
  if (!usable(d, groups, options)) return false;
  const Filters filters = arrange(f.filters, d, groups, options);
  parallel_for(groups.count(), [&](int64_t group) {
    Plan& plan = plan_for(d, groups.size(group), options);
    const int64_t first = group * groups.width;
    plan.bind(DNNL_ARG_SRC, f.x + first * d.h * d.w * d.c);
    plan.bind(DNNL_ARG_WEIGHTS, group + 1 < groups.count() ? filters.of_full : filters.of_last);
    plan.bind(DNNL_ARG_DST, f.y + first * d.p() * d.q() * d.k);
    if (options.bias) plan.bind(DNNL_ARG_BIAS, f.bias);
    plan.run();
  });
  return true;
}

bool conv2d_backward_data(const Conv2dBackwardData<float>& b) {
  const Conv2dShape& d = b.shape;
  const Options options{.pass = Pass::kBackwardData};
  const Groups groups{d.n, kImagesPerGroup};
  if (!usable(d, groups, options)) return false;
  const Filters filters = arrange(b.filters, d, groups, options);
  const int64_t image_size = d.h * d.w * d.c;
  parallel_for(groups.count(), [&](int64_t group) {
    Plan& plan = plan_for(d, groups.size(group), options);
    const int64_t first = group * groups.width, count = groups.size(group) * image_size;
    float* dx = b.dx + first * image_size;
    float* target = b.accumulate ? scratch<struct GroupGradient, float>(count) : dx;
    plan.bind(DNNL_ARG_DIFF_DST, b.dy + first * d.p() * d.q() * d.k);
    plan.bind(DNNL_ARG_WEIGHTS, group + 1 < groups.count() ? filters.of_full : filters.of_last);
    plan.bind(DNNL_ARG_DIFF_SRC, target);
    plan.run();
    if (b.accumulate) add_to(dx, target, count);
  });
  return true;
}

bool conv2d_backward_weights(const Conv2dBackwardWeights<float>& b) {
  const Conv2dShape& d = b.shape;
  const Options options{.pass = Pass::kBackwardWeights};
  const Groups groups{d.n, kImagesPerPartial};
  if (!usable(d, groups, options)) return false;
  Plan& first_plan = plan_for(d, groups.size(0), options);
  Plan& last_plan = plan_for(d, groups.size(groups.count() - 1), options);
  const int64_t size = d.k * d.r * d.s * d.c;
  // The partial sums of the full groups, that of a smaller last group, and room to bring one back
  // to our layout.
  const int64_t stride = std::max(first_plan.arranged_count(), last_plan.arranged_count());
  float* partials = scratch<struct FilterPartials, float>((groups.count() + 1) * stride);
  float* plain = partials + groups.count() * stride;
  parallel_for(groups.count(), [&](int64_t group) {
    Plan& plan = plan_for(d, groups.size(group), options);
    const int64_t first = group * groups.width;
    plan.bind(DNNL_ARG_SRC, b.x + first * d.h * d.w * d.c);
    plan.bind(DNNL_ARG_DIFF_DST, b.dy + first * d.p() * d.q() * d.k);
    plan.bind(DNNL_ARG_DIFF_WEIGHTS, partials + group * stride);
    plan.run();
  });

  const auto bring_back = [&](Plan& plan, const float* sum, bool accumulate) {
    if (!plan.same_layout()) {
      float* target = accumulate ? plain : b.dfilters;
      plan.run_rearrange(plan.arranged, sum, plan.plain, target);
      sum = target;
    }
    if (accumulate) {
      add_to(b.dfilters, sum, size);
    } else if (sum != b.dfilters) {
      std::copy_n(sum, size, b.dfilters);
    }
  };
  // Partial sums in one format are added before it is left; in slices, each in group order.
  const bool same = first_plan.arranged.get_desc() == last_plan.arranged.get_desc();
  const int64_t summed = same ? groups.count() : groups.count() - 1;
  constexpr int64_t kSlice = 1 << 16;
  parallel_for((first_plan.arranged_count() + kSlice - 1) / kSlice, [&](int64_t slice) {
    const int64_t start = slice * kSlice;
    const int64_t count = std::min(kSlice, first_plan.arranged_count() - start);
    for (int64_t group = 1; group < summed; ++group) {
      add_to(partials + start, partials + group * stride + start, count);
    }
  });
  bring_back(first_plan, partials, b.accumulate);
  if (!same) bring_back(last_plan, partials + (groups.count() - 1) * stride, true);
  return true;
}

}  // namespace flyball::cpu::onednn

#endif
