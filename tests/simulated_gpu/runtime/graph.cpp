#include "tests/simulated_gpu/runtime/graph.h"

#include <algorithm>
#include <map>

namespace flyball::simulated_gpu::runtime {
namespace {

std::map<cudaGraph_t, std::unique_ptr<CUgraph_st>>& graphs() {
  static auto* graphs = new std::map<cudaGraph_t, std::unique_ptr<CUgraph_st>>;
  return *graphs;
}

std::set<const CUgraphNode_st*>& live_nodes() {
  static auto* nodes = new std::set<const CUgraphNode_st*>;
  return *nodes;
}

// Writes at most *count items and the number written, or the number there is when items is null;
// the rest is cleared.
template <typename T>
void give(const std::vector<T>& found, T* items, size_t* count) {
  require(count, cudaErrorInvalidValue);
  if (items) {
    const size_t given = std::min(*count, found.size());
    std::copy_n(found.begin(), given, items);
    std::fill(items + given, items + *count, T{});
    *count = given;
  } else {
    *count = found.size();
  }
}

}  // namespace

std::unique_ptr<CUgraph_st> create_graph() { return std::make_unique<CUgraph_st>(); }

cudaGraph_t keep_graph(std::unique_ptr<CUgraph_st> graph) {
  const cudaGraph_t handle = graph.get();
  graphs()[handle] = std::move(graph);
  return handle;
}

void drop_graph(cudaGraph_t graph) { graphs().erase(graph); }

CUgraph_st& check_graph(cudaGraph_t graph) {
  require(graphs().contains(graph), cudaErrorInvalidValue);
  return *graph;
}

CUgraphNode_st& check_node(cudaGraphNode_t node) {
  require(live_nodes().contains(node), cudaErrorInvalidValue);
  return *node;
}

cudaGraphNode_t add_node(CUgraph_st& graph, Work work, std::vector<cudaGraphNode_t> dependencies) {
  auto node = std::make_unique<CUgraphNode_st>();
  node->graph = &graph;
  node->work = std::move(work);
  node->dependencies = std::move(dependencies);
  graph.nodes.push_back(std::move(node));
  return graph.nodes.back().get();
}

std::set<cudaGraphNode_t> ancestors(const std::vector<cudaGraphNode_t>& nodes) {
  std::vector<cudaGraphNode_t> open = nodes;
  std::set<cudaGraphNode_t> found;
  while (!open.empty()) {
    const cudaGraphNode_t node = open.back();
    open.pop_back();
    if (!found.insert(node).second) continue;
    open.insert(open.end(), node->dependencies.begin(), node->dependencies.end());
  }
  return found;
}

std::vector<cudaGraphNode_t> sorted(const CUgraph_st& graph) {
  std::vector<cudaGraphNode_t> order;
  std::set<cudaGraphNode_t> placed;
  while (order.size() < graph.nodes.size()) {
    const size_t before = order.size();
    for (const auto& node : graph.nodes) {
      if (placed.contains(node.get())) continue;
      if (!std::all_of(node->dependencies.begin(), node->dependencies.end(),
                       [&](cudaGraphNode_t needed) { return placed.contains(needed); }))
        continue;
      placed.insert(node.get());
      order.push_back(node.get());
    }
    require(order.size() > before, cudaErrorInvalidValue);
  }
  return order;
}

std::unique_ptr<CUgraph_st> clone(const CUgraph_st& graph) {
  auto copy = create_graph();
  std::map<cudaGraphNode_t, cudaGraphNode_t> copies;
  for (const auto& node : graph.nodes) copies[node.get()] = add_node(*copy, node->work, {});
  for (const auto& node : graph.nodes)
    for (const cudaGraphNode_t needed : node->dependencies)
      copies[node.get()]->dependencies.push_back(copies[needed]);
  return copy;
}

std::string graph_leaks() {
  return graphs().empty() ? "" : "    " + std::to_string(graphs().size()) + " graphs\n";
}

cudaGraphNodeType type_of(const Work& work) {
  constexpr cudaGraphNodeType kTypes[] = {cudaGraphNodeTypeKernel, cudaGraphNodeTypeMemcpy,
                                          cudaGraphNodeTypeMemset, cudaGraphNodeTypeHost,
                                          cudaGraphNodeTypeEmpty,  cudaGraphNodeTypeGraph};
  static_assert(std::size(kTypes) == std::variant_size_v<Work>);
  return kTypes[work.index()];
}

}  // namespace flyball::simulated_gpu::runtime

using namespace flyball::simulated_gpu::runtime;

CUgraphNode_st::CUgraphNode_st() { live_nodes().insert(this); }
CUgraphNode_st::~CUgraphNode_st() { live_nodes().erase(this); }

// NOLINTBEGIN(readability-identifier-naming): the CUDA runtime's names
extern "C" {

cudaError_t cudaGraphCreate(cudaGraph_t* graph, unsigned) {
  return call([&] { *graph = keep_graph(create_graph()); });
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return call([&] {
    check_graph(graph);
    drop_graph(graph);
  });
}
cudaError_t cudaGraphClone(cudaGraph_t* copy, cudaGraph_t original) {
  return call([&] { *copy = keep_graph(clone(check_graph(original))); });
}
cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType* type) {
  return call([&] { *type = type_of(check_node(node).work); });
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  return call([&] {
    std::vector<cudaGraphNode_t> found;
    for (const auto& node : check_graph(graph).nodes) found.push_back(node.get());
    give(found, nodes, count);
  });
}
cudaError_t cudaGraphGetRootNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  return call([&] {
    std::vector<cudaGraphNode_t> found;
    for (const auto& node : check_graph(graph).nodes)
      if (node->dependencies.empty()) found.push_back(node.get());
    give(found, nodes, count);
  });
}
cudaError_t cudaGraphGetEdges(cudaGraph_t graph, cudaGraphNode_t* from, cudaGraphNode_t* to,
                              cudaGraphEdgeData* edges, size_t* count) {
  return call([&] {
    std::vector<cudaGraphNode_t> sources, targets;
    for (const auto& node : check_graph(graph).nodes) {
      for (const cudaGraphNode_t needed : node->dependencies) {
        sources.push_back(needed);
        targets.push_back(node.get());
      }
    }
    size_t asked = *count;
    give(sources, from, count);
    if (edges) std::fill_n(edges, std::min(asked, *count), cudaGraphEdgeData{});
    give(targets, to, &asked);
  });
}
cudaError_t cudaGraphNodeGetDependencies(cudaGraphNode_t node, cudaGraphNode_t* nodes,
                                         cudaGraphEdgeData* edges, size_t* count) {
  return call([&] {
    give(check_node(node).dependencies, nodes, count);
    if (edges) std::fill_n(edges, *count, cudaGraphEdgeData{});
  });
}
cudaError_t cudaGraphAddDependencies(cudaGraph_t graph, const cudaGraphNode_t* from,
                                     const cudaGraphNode_t* to, const cudaGraphEdgeData*,
                                     size_t count) {
  return call([&] {
    check_graph(graph);
    for (size_t i = 0; i < count; ++i) {
      require(check_node(from[i]).graph == graph && check_node(to[i]).graph == graph,
              cudaErrorInvalidValue);
      auto& needed = to[i]->dependencies;
      require(std::find(needed.begin(), needed.end(), from[i]) == needed.end(),
              cudaErrorInvalidValue);
      needed.push_back(from[i]);
    }
  });
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)
