#include <algorithm>

#include "tests/simulated_gpu/runtime/graph.h"

namespace flyball::simulated_gpu::runtime {
namespace {

// Adds a node after checking its dependencies.
void add(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* dependencies,
         size_t count, Work work) {
  require(node, cudaErrorInvalidValue);
  CUgraph_st& owner = check_graph(graph);
  std::vector<cudaGraphNode_t> needed(dependencies, dependencies + count);
  for (const cudaGraphNode_t dependency : needed)
    require(check_node(dependency).graph == graph, cudaErrorInvalidValue);
  *node = add_node(owner, std::move(work), std::move(needed));
}

// The node's work, which must be of this kind.
template <typename Kind>
Kind& work_of(cudaGraphNode_t node) {
  Kind* work = std::get_if<Kind>(&check_node(node).work);
  require(work, cudaErrorInvalidValue);
  return *work;
}

}  // namespace

KernelWork kernel_work_of(const cudaKernelNodeParams& parameters, bool cooperative) {
  require(parameters.kernelParams && !parameters.extra, cudaErrorInvalidValue);
  return make_kernel_work(parameters.func, parameters.gridDim, parameters.blockDim,
                          parameters.kernelParams, parameters.sharedMemBytes, cooperative);
}

CopyWork copy_work_of(const cudaMemcpy3DParms& parameters) {
  const auto& [from_array, from_at, from, to_array, to_at, to, extent, kind] = parameters;
  require(!from_array && !to_array && extent.depth <= 1 && from_at.z == 0 && to_at.z == 0,
          cudaErrorNotSupported);
  const CopyWork work{static_cast<char*>(to.ptr) + to_at.y * to.pitch + to_at.x,
                      to.pitch,
                      static_cast<char*>(from.ptr) + from_at.y * from.pitch + from_at.x,
                      from.pitch,
                      extent.width,
                      extent.height};
  check(work, kind);
  return work;
}

SetWork set_work_of(const cudaMemsetParams& parameters) {
  const SetWork work{parameters.dst,    parameters.pitch, parameters.width,
                     parameters.height, parameters.value, parameters.elementSize};
  require(work.element_bytes == 1 || work.element_bytes == 2 || work.element_bytes == 4,
          cudaErrorInvalidValue);
  check(work);
  return work;
}

CopyWork line_copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const CopyWork work{to, bytes, from, bytes, bytes, 1};
  check(work, kind);
  return work;
}

}  // namespace flyball::simulated_gpu::runtime

using namespace flyball::simulated_gpu::runtime;

// NOLINTBEGIN(readability-identifier-naming): the CUDA runtime's names
extern "C" {

cudaError_t cudaGraphAddEmptyNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                  const cudaGraphNode_t* dependencies, size_t count) {
  return call([&] { add(node, graph, dependencies, count, EmptyWork{}); });
}
cudaError_t cudaGraphAddKernelNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                   const cudaGraphNode_t* dependencies, size_t count,
                                   const cudaKernelNodeParams* parameters) {
  return call([&] { add(node, graph, dependencies, count, kernel_work_of(*parameters)); });
}
cudaError_t cudaGraphAddMemcpyNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                   const cudaGraphNode_t* dependencies, size_t count,
                                   const cudaMemcpy3DParms* parameters) {
  return call([&] { add(node, graph, dependencies, count, copy_work_of(*parameters)); });
}
cudaError_t cudaGraphAddMemcpyNode1D(cudaGraphNode_t* node, cudaGraph_t graph,
                                     const cudaGraphNode_t* dependencies, size_t count, void* to,
                                     const void* from, size_t bytes, cudaMemcpyKind kind) {
  return call([&] { add(node, graph, dependencies, count, line_copy(to, from, bytes, kind)); });
}
cudaError_t cudaGraphAddMemsetNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                   const cudaGraphNode_t* dependencies, size_t count,
                                   const cudaMemsetParams* parameters) {
  return call([&] { add(node, graph, dependencies, count, set_work_of(*parameters)); });
}
cudaError_t cudaGraphAddHostNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                 const cudaGraphNode_t* dependencies, size_t count,
                                 const cudaHostNodeParams* parameters) {
  return call([&] {
    add(node, graph, dependencies, count, HostWork{parameters->fn, parameters->userData});
  });
}
cudaError_t cudaGraphAddChildGraphNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                       const cudaGraphNode_t* dependencies, size_t count,
                                       cudaGraph_t child) {
  return call([&] { add(node, graph, dependencies, count, ChildWork{clone(check_graph(child))}); });
}

// kernelParams points into the node and stays valid as long as it does, or until its parameters are
// set.
cudaError_t cudaGraphKernelNodeGetParams(cudaGraphNode_t node, cudaKernelNodeParams* parameters) {
  return call([&] {
    KernelWork& work = work_of<KernelWork>(node);
    work.argument_pointers.clear();
    for (auto& argument : work.arguments) work.argument_pointers.push_back(argument.data());
    *parameters = {work.kernel,
                   {work.grid.x, work.grid.y, work.grid.z},
                   {work.block.x, work.block.y, work.block.z},
                   static_cast<unsigned>(work.shared_bytes),
                   work.argument_pointers.data(),
                   nullptr};
  });
}
cudaError_t cudaGraphKernelNodeSetParams(cudaGraphNode_t node,
                                         const cudaKernelNodeParams* parameters) {
  return call([&] {
    KernelWork& work = work_of<KernelWork>(node);
    work = kernel_work_of(*parameters, work.cooperative);
  });
}
cudaError_t cudaGraphMemcpyNodeSetParams1D(cudaGraphNode_t node, void* to, const void* from,
                                           size_t bytes, cudaMemcpyKind kind) {
  return call([&] { work_of<CopyWork>(node) = line_copy(to, from, bytes, kind); });
}
cudaError_t cudaGraphMemcpyNodeSetParams(cudaGraphNode_t node,
                                         const cudaMemcpy3DParms* parameters) {
  return call([&] { work_of<CopyWork>(node) = copy_work_of(*parameters); });
}
cudaError_t cudaGraphMemcpyNodeGetParams(cudaGraphNode_t node, cudaMemcpy3DParms* parameters) {
  return call([&] {
    const CopyWork& work = work_of<CopyWork>(node);
    *parameters = {};
    parameters->srcPtr = {const_cast<void*>(work.from), work.from_pitch, work.width, work.height};
    parameters->dstPtr = {work.to, work.to_pitch, work.width, work.height};
    parameters->extent = {work.width, work.height, 1};
    parameters->kind = cudaMemcpyDefault;
  });
}
cudaError_t cudaGraphMemsetNodeSetParams(cudaGraphNode_t node, const cudaMemsetParams* parameters) {
  return call([&] { work_of<SetWork>(node) = set_work_of(*parameters); });
}
cudaError_t cudaGraphMemsetNodeGetParams(cudaGraphNode_t node, cudaMemsetParams* parameters) {
  return call([&] {
    const SetWork& work = work_of<SetWork>(node);
    *parameters = {work.to, work.pitch, work.value, work.element_bytes, work.width, work.height};
  });
}
cudaError_t cudaGraphHostNodeSetParams(cudaGraphNode_t node, const cudaHostNodeParams* parameters) {
  return call([&] { work_of<HostWork>(node) = {parameters->fn, parameters->userData}; });
}
cudaError_t cudaGraphHostNodeGetParams(cudaGraphNode_t node, cudaHostNodeParams* parameters) {
  return call([&] {
    const HostWork& work = work_of<HostWork>(node);
    *parameters = {work.function, work.data};
  });
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)
