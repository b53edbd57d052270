#pragma once

#include <memory>
#include <set>
#include <vector>

#include "tests/simulated_gpu/runtime/work.h"

struct CUgraphNode_st {
  CUgraphNode_st();
  ~CUgraphNode_st();
  CUgraphNode_st(const CUgraphNode_st&) = delete;
  CUgraphNode_st& operator=(const CUgraphNode_st&) = delete;

  CUgraph_st* graph = nullptr;
  flyball::simulated_gpu::runtime::Work work;
  std::vector<cudaGraphNode_t> dependencies;
};

struct CUgraph_st {
  std::vector<std::unique_ptr<CUgraphNode_st>> nodes;  // in the order they were added
};

namespace flyball::simulated_gpu::runtime {

// Graphs that the caller holds are known by handle, so that a wrong one is refused.
std::unique_ptr<CUgraph_st> create_graph();
cudaGraph_t keep_graph(std::unique_ptr<CUgraph_st> graph);
void drop_graph(cudaGraph_t graph);
CUgraph_st& check_graph(cudaGraph_t graph);        // throws Failure(cudaErrorInvalidValue)
CUgraphNode_st& check_node(cudaGraphNode_t node);  // likewise
cudaGraphNode_t add_node(CUgraph_st& graph, Work work, std::vector<cudaGraphNode_t> dependencies);
std::set<cudaGraphNode_t> ancestors(const std::vector<cudaGraphNode_t>& nodes);  // and themselves
// Every node after those it depends on, otherwise in the order added. Throws
// Failure(cudaErrorInvalidValue) for a cycle.
std::vector<cudaGraphNode_t> sorted(const CUgraph_st& graph);
std::unique_ptr<CUgraph_st> clone(const CUgraph_st& graph);
std::string graph_leaks();
std::string graph_exec_leaks();

// Work of the structures that the API describes nodes with.
KernelWork kernel_work_of(const cudaKernelNodeParams& parameters, bool cooperative = false);
CopyWork copy_work_of(const cudaMemcpy3DParms& parameters);
SetWork set_work_of(const cudaMemsetParams& parameters);
CopyWork line_copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind);  // checked
cudaGraphNodeType type_of(const Work& work);

}  // namespace flyball::simulated_gpu::runtime
