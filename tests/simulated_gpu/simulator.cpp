#include "tests/simulated_gpu/simulator.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>

#include "tests/simulated_gpu/checks.h"
#include "tests/simulated_gpu/execution.h"
#include "tests/simulated_gpu/ptx.h"

namespace flyball::simulated_gpu {
namespace {

struct FreeBytes {
  void operator()(uint8_t* p) const { std::free(p); }
};
using Bytes = std::unique_ptr<uint8_t[], FreeBytes>;

Bytes zeroed(size_t bytes) {
  const size_t padded = (bytes + 256) / 256 * 256;
  auto* p = static_cast<uint8_t*>(std::aligned_alloc(256, padded));
  std::memset(p, 0, padded);
  return Bytes(p);
}

class LoadedModule final : public Module {
 public:
  LoadedModule(std::string_view ptx, TrackedMemory& memory)
      : memory_(memory), text_(ptx), module_(parse_ptx(text_)) {
    for (const auto* list : {&module_.globals, &module_.constants})
      for (const Variable& v : *list) place(v);
    for (const auto* list : {&module_.globals, &module_.constants})
      for (const Variable& v : *list)
        for (const auto& address : v.addresses) {
          const auto target = symbols_.find(address.symbol);
          if (target == symbols_.end())
            throw Fault("PTX line " + std::to_string(v.line) + ": the address of '" +
                        std::string(address.symbol) + "' in an initialiser is not covered");
          const uint64_t bits = target->second + static_cast<uint64_t>(address.offset);
          std::memcpy(reinterpret_cast<uint8_t*>(symbols_.at(v.name)) + address.at, &bits, 8);
        }
  }
  ~LoadedModule() override {
    for (const auto& storage : storage_) memory_.disown(storage.get());
  }

  const KernelInfo* find_kernel(std::string_view name) const override {
    const std::lock_guard lock(mutex_);
    const auto found = module_.functions.find(name);
    if (found == module_.functions.end() || !found->second.is_kernel) return nullptr;
    const auto [info, fresh] = infos_.try_emplace(found->first);
    if (fresh) {
      const Program& program = program_of(found->second);
      info->second.name = std::string(name);
      for (const auto& p : program.parameters) info->second.parameter_sizes.push_back(p.bytes);
      info->second.static_shared_bytes = program.shared_bytes;
      info->second.local_bytes = program.local_bytes;
      info->second.max_threads = program.max_threads;
    }
    return &info->second;
  }

  void* symbol_address(std::string_view name, size_t* bytes) const override {
    const auto found = symbols_.find(name);
    if (found == symbols_.end()) return nullptr;
    if (bytes)
      for (const auto* list : {&module_.globals, &module_.constants})
        for (const Variable& v : *list)
          if (v.name == name) *bytes = v.bytes();
    return reinterpret_cast<void*>(found->second);
  }

  LaunchReport launch(std::string_view kernel, Dim3 grid, Dim3 block, size_t dynamic_shared_bytes,
                      void* const* arguments, const Options& options, bool cooperative) override;

 private:
  void place(const Variable& v) {
    Bytes storage = zeroed(v.bytes());
    std::memcpy(storage.get(), v.initial.data(), v.initial.size());
    memory_.adopt(storage.get(), v.bytes(), demangled(v.name));
    symbols_[v.name] = reinterpret_cast<uint64_t>(storage.get());
    storage_.push_back(std::move(storage));
  }
  const Program& program_of(const Function& function) const {
    auto& program = programs_[function.name];
    if (!program) program = decode(module_, function, symbols_);
    return *program;
  }

  TrackedMemory& memory_;
  const std::string text_;
  const ParsedModule module_;
  SymbolTable symbols_;
  std::vector<Bytes> storage_;
  mutable std::mutex mutex_;
  mutable std::unordered_map<std::string_view, std::unique_ptr<Program>> programs_;
  mutable std::unordered_map<std::string_view, KernelInfo> infos_;
};

[[noreturn]] void refuse(std::string_view kernel, const std::string& what) {
  throw Fault("kernel " + demangled(kernel) + ": " + what);
}

// Blocks one after the other, on several host threads if asked.
void run_blocks(Launch& launch, std::vector<Worker>& workers) {
  std::atomic<uint64_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&](Worker& worker) {
    try {
      Block block(launch, worker);
      for (uint64_t i = next++; i < launch.blocks; i = next++) {
        block.start(i);
        block.run(true);
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      next = launch.blocks;
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < workers.size(); ++i) threads.emplace_back(work, std::ref(workers[i]));
  work(workers[0]);
  for (std::thread& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
}

// All blocks exist at once and take turns.
void run_cooperatively(Launch& launch, Worker& worker) {
  std::vector<std::unique_ptr<Block>> running;
  for (uint64_t i = 0; i < launch.blocks; ++i) {
    running.push_back(std::make_unique<Block>(launch, worker));
    running.back()->start(i);
  }
  while (!running.empty())
    std::erase_if(running, [](const auto& block) { return block->run(false); });
}

LaunchReport LoadedModule::launch(std::string_view kernel, Dim3 grid, Dim3 block,
                                  size_t dynamic_shared_bytes, void* const* arguments,
                                  const Options& options, bool cooperative) {
  const Program* program = nullptr;
  {
    const std::lock_guard lock(mutex_);
    const auto found = module_.functions.find(kernel);
    if (found == module_.functions.end() || !found->second.is_kernel)
      refuse(kernel, "not in this module");
    program = &program_of(found->second);
  }
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > 1024)
    refuse(kernel, "a block of " + std::to_string(threads) + " threads");
  if (threads > program->max_threads)
    refuse(kernel, "a block of " + std::to_string(threads) +
                       " threads, but the kernel is bounded to " +
                       std::to_string(program->max_threads));
  Bytes parameters = zeroed(program->parameter_bytes);
  for (size_t i = 0; i < program->parameters.size(); ++i)
    std::memcpy(parameters.get() + program->parameters[i].offset, arguments[i],
                program->parameters[i].bytes);
  Bytes workspace = zeroed(16);
  if (cooperative) memory_.adopt(workspace.get(), 16, "grid workspace");
  const std::shared_ptr<const MemorySnapshot> memory = memory_.snapshot();
  Launch launch{.program = *program,
                .files = module_.files,
                .grid = grid,
                .block = block,
                .memory = *memory,
                .options = options};
  launch.threads = static_cast<uint32_t>(threads);
  launch.warps = static_cast<uint32_t>((threads + 31) / 32);
  launch.blocks = uint64_t{grid.x} * grid.y * grid.z;
  launch.dynamic_shared_bytes = static_cast<uint32_t>(dynamic_shared_bytes);
  launch.shared_bytes = program->shared_bytes + launch.dynamic_shared_bytes;
  launch.parameters = parameters.get();
  launch.device = &memory_;
  if (cooperative) launch.grid_workspace = reinterpret_cast<uint64_t>(workspace.get());
  const std::unique_ptr<Checks> checks = Checks::make(launch, memory_.tracks_initialisation());
  launch.observer = checks.get();
  const size_t count = checks || cooperative
                           ? 1
                           : std::clamp<size_t>(static_cast<size_t>(std::max(1, options.threads)),
                                                1, std::max<uint64_t>(1, launch.blocks));
  std::vector<Worker> workers(
      count, Worker{launch, std::vector<Allocation>(program->slots + 1), 0, 0, 0, 0});
  const auto finish = [&] {
    if (cooperative) memory_.disown(workspace.get());
  };
  try {
    if (cooperative)
      run_cooperatively(launch, workers[0]);
    else
      run_blocks(launch, workers);
  } catch (...) {
    finish();
    throw;
  }
  finish();
  LaunchReport report;
  if (checks) checks->report(report);
  for (const Worker& worker : workers) {
    report.warp_instructions += worker.warp_instructions;
    report.thread_instructions += worker.thread_instructions;
    report.divergent_branches += worker.divergent_branches;
  }
  return report;
}

const char* text_of(const char* name) {
  const char* value = std::getenv(name);
  return value && *value ? value : nullptr;
}
bool flag(const char* name) {
  const char* value = text_of(name);
  return value && std::strcmp(value, "0") != 0;
}

}  // namespace

std::unique_ptr<Module> Module::load(std::string_view ptx, DeviceMemory& memory) {
  return std::make_unique<LoadedModule>(ptx, dynamic_cast<TrackedMemory&>(memory));
}

Options Options::from_environment() {
  Options options;
  if (const char* order = text_of("SIMULATED_GPU_ORDER")) {
    const std::string_view name = order;
    if (name == "forward")
      options.warp_order = WarpOrder::kForward;
    else if (name == "reverse")
      options.warp_order = WarpOrder::kReverse;
    else if (name == "random")
      options.warp_order = WarpOrder::kRandom;
    else if (name == "one-ahead")
      options.warp_order = WarpOrder::kOneAhead;
    else
      throw Fault("SIMULATED_GPU_ORDER is '" + std::string(name) +
                  "'; forward, reverse, random or one-ahead are known");
  }
  if (const char* seed = text_of("SIMULATED_GPU_SEED"))
    options.seed = std::strtoull(seed, nullptr, 10);
  options.race_check = flag("SIMULATED_GPU_RACE");
  options.uninitialised_check = flag("SIMULATED_GPU_UNINITIALISED");
  options.count = text_of("SIMULATED_GPU_REPORT") != nullptr;
  if (const char* threads = text_of("SIMULATED_GPU_THREADS"))
    options.threads = std::max(1, std::atoi(threads));
  return options;
}

}  // namespace flyball::simulated_gpu
