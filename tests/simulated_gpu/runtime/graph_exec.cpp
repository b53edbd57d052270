#include <algorithm>
#include <map>

#include "tests/simulated_gpu/runtime/capture.h"
#include "tests/simulated_gpu/runtime/graph.h"
#include "tests/simulated_gpu/runtime/streams.h"

// A graph made executable: child graphs expanded, nodes in an order that respects the edges. Nodes
// that no path connects are concurrent: each chain of nodes has its own slot in the clocks, so that
// two of them that touch the same bytes are a race.
struct CUgraphExec_st {
  struct Node {
    flyball::simulated_gpu::runtime::Work work;
    std::vector<size_t> dependencies;
    size_t slot = 0;
    cudaGraphNode_t origin = nullptr;
    bool enabled = true;
  };
  std::vector<Node> nodes;
  unsigned long long flags = 0;
  unsigned launches = 0;
  flyball::simulated_gpu::runtime::Clock
      finished;  // launches of one executable graph follow each other
};

namespace flyball::simulated_gpu::runtime {
namespace {

std::set<cudaGraphExec_t>& execs() {
  static auto* execs = new std::set<cudaGraphExec_t>;
  return *execs;
}

CUgraphExec_st& check_exec(cudaGraphExec_t exec) {
  require(execs().contains(exec), cudaErrorInvalidValue);
  return *exec;
}

// Appends the nodes of a graph that starts after `start`; returns the nodes that it ends with.
std::vector<size_t> expand(CUgraphExec_st& exec, const CUgraph_st& graph,
                           const std::vector<size_t>& start) {
  std::map<cudaGraphNode_t, std::vector<size_t>> ends;
  std::set<cudaGraphNode_t> inner;  // nodes that others depend on
  for (const cudaGraphNode_t node : sorted(graph)) {
    std::vector<size_t> needed = node->dependencies.empty() ? start : std::vector<size_t>();
    for (const cudaGraphNode_t dependency : node->dependencies) {
      inner.insert(dependency);
      needed.insert(needed.end(), ends[dependency].begin(), ends[dependency].end());
    }
    if (const auto* child = std::get_if<ChildWork>(&node->work)) {
      ends[node] = expand(exec, *child->graph, needed);
    } else {
      exec.nodes.push_back({node->work, needed, 0, node, true});
      ends[node] = {exec.nodes.size() - 1};
    }
  }
  if (graph.nodes.empty()) return start;
  std::vector<size_t> last;
  for (const auto& [node, node_ends] : ends)
    if (!inner.contains(node)) last.insert(last.end(), node_ends.begin(), node_ends.end());
  return last;
}

void assign_slots(CUgraphExec_st& exec) {
  std::map<size_t, size_t> tails;  // node that ends a chain -> slot of the chain
  for (size_t i = 0; i < exec.nodes.size(); ++i) {
    auto& node = exec.nodes[i];
    const auto chain = std::find_if(node.dependencies.begin(), node.dependencies.end(),
                                    [&](size_t needed) { return tails.contains(needed); });
    if (chain == node.dependencies.end()) {
      node.slot = Ordering::get().new_slot();
    } else {
      node.slot = tails[*chain];
      tails.erase(*chain);
    }
    tails[i] = node.slot;
  }
}

cudaGraphExec_t instantiate(cudaGraph_t graph, unsigned long long flags) {
  auto exec = std::make_unique<CUgraphExec_st>();
  exec->flags = flags;
  expand(*exec, check_graph(graph), {});
  assign_slots(*exec);
  execs().insert(exec.get());
  return exec.release();
}

std::shared_ptr<CUgraph_st> as_graph(const CUgraphExec_st& exec) {
  std::shared_ptr<CUgraph_st> graph = create_graph();
  for (const auto& node : exec.nodes) {
    std::vector<cudaGraphNode_t> needed;
    for (const size_t dependency : node.dependencies)
      needed.push_back(graph->nodes[dependency].get());
    add_node(*graph, node.enabled ? node.work : EmptyWork{}, needed);
  }
  return graph;
}

void launch(CUgraphExec_st& exec, cudaStream_t handle) {
  Streams& streams = Streams::get();
  CUstream_st& stream = streams.find(handle);
  if (stream.capture) {
    add_captured_node(stream, ChildWork{as_graph(exec)});
    return;
  }
  if (streams.is_legacy(stream)) refuse_legacy_stream_in_capture();
  Clock start = streams.start_of(stream);
  start.join(exec.finished);
  Clock finished = start;
  const std::string where =
      "launch " + std::to_string(++exec.launches) + " of a graph on " + name_of(stream);
  const CallSite caller = CallSite::here();
  std::vector<Clock> ends(exec.nodes.size());
  for (size_t i = 0; i < exec.nodes.size(); ++i) {
    const auto& node = exec.nodes[i];
    Clock& clock = ends[i] = start;
    for (const size_t dependency : node.dependencies) clock.join(ends[dependency]);
    const Stamp stamp = Ordering::get().next(node.slot);
    if (node.enabled) {
      const auto site = std::make_shared<Site>(Site{describe(node.work), where, caller});
      perform(node.work, clock, stamp, site, false);
      if (Errors::get().sticky() != cudaSuccess) return;
    }
    clock.set(stamp);
    finished.join(clock);
  }
  stream.clock = exec.finished = finished;
}

// The new work of every node, where the two graphs have the same shape.
void update(CUgraphExec_st& exec, cudaGraph_t graph, cudaGraphExecUpdateResultInfo* result) {
  CUgraphExec_st fresh;
  expand(fresh, check_graph(graph), {});
  *result = {};
  const auto refuse = [&](cudaGraphExecUpdateResult why, cudaGraphNode_t node) {
    result->result = why;
    result->errorNode = node;
    throw Failure{cudaErrorGraphExecUpdateFailure};
  };
  if (fresh.nodes.size() != exec.nodes.size())
    refuse(cudaGraphExecUpdateErrorTopologyChanged, nullptr);
  for (size_t i = 0; i < fresh.nodes.size(); ++i) {
    const auto &before = exec.nodes[i], &after = fresh.nodes[i];
    if (before.dependencies != after.dependencies)
      refuse(cudaGraphExecUpdateErrorTopologyChanged, after.origin);
    if (before.work.index() != after.work.index())
      refuse(cudaGraphExecUpdateErrorNodeTypeChanged, after.origin);
  }
  for (size_t i = 0; i < fresh.nodes.size(); ++i) exec.nodes[i].work = fresh.nodes[i].work;
  result->result = cudaGraphExecUpdateSuccess;
}

CUgraphExec_st::Node& node_of(cudaGraphExec_t exec, cudaGraphNode_t origin) {
  auto& nodes = check_exec(exec).nodes;
  const auto found = std::find_if(nodes.begin(), nodes.end(),
                                  [&](const auto& node) { return node.origin == origin; });
  require(found != nodes.end(), cudaErrorInvalidValue);
  return *found;
}

template <typename Kind>
Kind& work_of(cudaGraphExec_t exec, cudaGraphNode_t origin) {
  Kind* work = std::get_if<Kind>(&node_of(exec, origin).work);
  require(work, cudaErrorInvalidValue);
  return *work;
}

}  // namespace

std::string graph_exec_leaks() {
  return execs().empty() ? "" : "    " + std::to_string(execs().size()) + " executable graphs\n";
}

}  // namespace flyball::simulated_gpu::runtime

using namespace flyball::simulated_gpu::runtime;

// NOLINTBEGIN(readability-identifier-naming): the CUDA runtime's names
extern "C" {

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* exec, cudaGraph_t graph,
                                          unsigned long long flags) {
  return call([&] { *exec = instantiate(graph, flags); });
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph,
                                 unsigned long long flags) {
  return cudaGraphInstantiateWithFlags(exec, graph, flags);
}
cudaError_t cudaGraphExecGetFlags(cudaGraphExec_t exec, unsigned long long* flags) {
  return call([&] { *flags = check_exec(exec).flags; });
}
cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream) {
  return call([&] {
    check_exec(exec);
    Streams::get().find(stream);
  });
}
// Reports a fault of its kernels as a device does: by the calls that follow.
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return call([&] { launch(check_exec(exec), stream); });
}
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph,
                                cudaGraphExecUpdateResultInfo* result) {
  return call([&] {
    cudaGraphExecUpdateResultInfo unasked;
    update(check_exec(exec), graph, result ? result : &unasked);
  });
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  return call([&] {
    execs().erase(&check_exec(exec));
    delete exec;
  });
}

cudaError_t cudaGraphExecKernelNodeSetParams(cudaGraphExec_t exec, cudaGraphNode_t node,
                                             const cudaKernelNodeParams* parameters) {
  return call([&] {
    KernelWork& work = work_of<KernelWork>(exec, node);
    work = kernel_work_of(*parameters, work.cooperative);
  });
}
cudaError_t cudaGraphExecMemcpyNodeSetParams(cudaGraphExec_t exec, cudaGraphNode_t node,
                                             const cudaMemcpy3DParms* parameters) {
  return call([&] { work_of<CopyWork>(exec, node) = copy_work_of(*parameters); });
}
cudaError_t cudaGraphExecMemcpyNodeSetParams1D(cudaGraphExec_t exec, cudaGraphNode_t node, void* to,
                                               const void* from, size_t bytes,
                                               cudaMemcpyKind kind) {
  return call([&] { work_of<CopyWork>(exec, node) = line_copy(to, from, bytes, kind); });
}
cudaError_t cudaGraphExecMemsetNodeSetParams(cudaGraphExec_t exec, cudaGraphNode_t node,
                                             const cudaMemsetParams* parameters) {
  return call([&] { work_of<SetWork>(exec, node) = set_work_of(*parameters); });
}
cudaError_t cudaGraphExecHostNodeSetParams(cudaGraphExec_t exec, cudaGraphNode_t node,
                                           const cudaHostNodeParams* parameters) {
  return call([&] { work_of<HostWork>(exec, node) = {parameters->fn, parameters->userData}; });
}
cudaError_t cudaGraphNodeSetEnabled(cudaGraphExec_t exec, cudaGraphNode_t node, unsigned enabled) {
  return call([&] { node_of(exec, node).enabled = enabled != 0; });
}
cudaError_t cudaGraphNodeGetEnabled(cudaGraphExec_t exec, cudaGraphNode_t node, unsigned* enabled) {
  return call([&] { *enabled = node_of(exec, node).enabled; });
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)
