// What a training step asks of the system once it is in its stride, on one thread: no system call,
// no page fault, no large allocation. The kernel is made to refuse every call (seccomp), malloc and
// aligned_alloc are counted; not posix_memalign, which only oneDNN's matrix product calls, for
// copies of its operands.
// Usage: quiet_step mlp|cnn|resnet|bilstm|one-call|one-allocation|one-aligned
// The last three do once what is counted, and expect it to be seen.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "framework/trainer.h"
#include "kernels/cpu/parallel.h"
#include "models/bilstm.h"
#include "models/cnn.h"
#include "models/mlp.h"
#include "models/process_settings.h"
#include "models/resnet.h"
#include "models/task.h"
#include "schedulers/schedules.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
constexpr bool kWatches = false;
#else
constexpr bool kWatches = true;
#endif

namespace {

using namespace flyball;

constexpr size_t kLarge = 4096;  // bytes; what is smaller comes from malloc's own lists
bool counting = false;
long large_allocations = 0, small_allocations = 0;
volatile std::sig_atomic_t system_calls = 0, first_call = -1;

// The refused call is skipped and answers ENOSYS.
void count_call(int, siginfo_t* info, void* context) {
  if (system_calls == 0) first_call = info->si_syscall;
  system_calls = system_calls + 1;
#if defined(__x86_64__)
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RAX] = -38;
#else
  static_cast<void>(context);
#endif
}

// From here on only what ends the measurement is allowed.
bool refuse_system_calls() {
  struct sigaction action {};
  action.sa_sigaction = count_call;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSYS, &action, nullptr);
  const auto allow = [](unsigned number) {
    return sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1);
  };
  const sock_filter yes = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      allow(SYS_getrusage),
      yes,
      allow(SYS_write),
      yes,
      allow(SYS_rt_sigreturn),
      yes,
      allow(SYS_exit_group),
      yes,
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
  };
  const sock_fprog filter{sizeof program / sizeof program[0], program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

long page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}

Model make_network(const std::string& name, Initializer& init) {
  if (name == "bilstm") {
    return make_model<BiLstm>(init,
                              BiLstmOptions{.vocabulary = 500, .embedding = 20, .hidden = 16});
  }
  if (name == "resnet") return make_model<ResNet18>(init, ResNetOptions{.width = 16});
  if (name == "cnn") return make_model<Cnn>(init);
  return make_model<Mlp>(init, Mlp::complex());
}

Batch make_batch(const std::string& name, const Stream& stream) {
  constexpr int64_t kCount = 16, kTime = 12;
  Batch batch;
  batch.count = kCount;
  batch.labels = Tensor::zeros(stream, {kCount}, DType::i32);
  if (name == "bilstm") {
    const std::vector<int32_t> tokens(kTime * kCount, 3), lengths(kCount, kTime);
    batch.x = Tensor::from_host(stream, {kTime, kCount}, std::span<const int32_t>(tokens));
    batch.lengths = Tensor::from_host(stream, {kCount}, std::span<const int32_t>(lengths));
    return batch;
  }
  const Shape shape = name == "resnet" ? Shape{kCount, 32, 32, 3} : Shape{kCount, 28, 28, 1};
  std::vector<float> x(static_cast<size_t>(shape.count()));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 17) / 17;
  batch.x = Tensor::from_host(stream, shape, std::span<const float>(x));
  return batch;
}

int watch(const std::string& name) {
  keep_freed_memory();
  cpu::set_threads(1);
  const Stream stream;
  Initializer init(stream, 1);
  const Model model = make_network(name, init);
  ParameterArena arena(stream, *model.module);
  LearningRate rate(stream, make_rule("adaptive", 1e-3), {.total_steps = 1000});
  Adam adam(stream, arena, rate);
  const Batch batch = make_batch(name, stream);
  StepResult result;
  const auto step = [&] {
    const Context context{
        .stream = stream, .training = true, .seed = 1, .step = rate.step(), .recompute = true};
    const CrossEntropy entropy =
        softmax_cross_entropy(context, model.forward(context, batch), batch.labels);
    entropy.loss.backward(stream);
    result = {entropy.loss.value(), entropy.correct, batch.count};
    adam.enqueue_step(result, rate, stream);
  };
  counting = true;  // from the start, so that the counters' own pages are there
  for (int i = 0; i < 20; ++i) step();
  constexpr int kSteps = 5;
  if (!refuse_system_calls()) return 77;
  page_faults();
  step();  // whatever the switch itself touched is there
  large_allocations = small_allocations = 0;
  const long faults_before = page_faults();
  for (int i = 0; i < kSteps; ++i) step();
  if (name == "one-call") syscall(SYS_getppid);
  if (name == "one-allocation") std::free(std::malloc(kLarge));
  if (name == "one-aligned") std::free(std::aligned_alloc(64, kLarge));
  counting = false;
  const long faults = page_faults() - faults_before;
  char text[160];
  const int length =
      std::snprintf(text, sizeof text,
                    "%s: in %d steps %d system calls (first: number %d), %ld page faults, %ld "
                    "large and %ld small "
                    "allocations\n",
                    name.c_str(), kSteps, static_cast<int>(system_calls),
                    static_cast<int>(first_call), faults, large_allocations, small_allocations);
  const bool written = write(1, text, static_cast<size_t>(length)) == length;
  const int calls_wanted = name == "one-call" ? 1 : 0;
  const long large_wanted = name == "one-allocation" || name == "one-aligned" ? 1 : 0;
  const bool faults_as_wanted =
      faults == 0 || large_wanted == 1;  // the block's own page may be new
  const bool as_wanted =
      system_calls == calls_wanted && faults_as_wanted && large_allocations == large_wanted;
  _exit(written && as_wanted ? 0 : 1);
}

}  // namespace

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && defined(__GLIBC__)
extern "C" void* __libc_malloc(size_t bytes);  // NOLINT(bugprone-reserved-identifier)
extern "C" void* __libc_memalign(size_t alignment,
                                 size_t bytes);  // NOLINT(bugprone-reserved-identifier)
void count_allocation(size_t bytes) {
  if (counting) ++(bytes >= kLarge ? large_allocations : small_allocations);
}
extern "C" void* malloc(size_t bytes) {
  count_allocation(bytes);
  return __libc_malloc(bytes);
}
extern "C" void* aligned_alloc(size_t alignment, size_t bytes) {
  count_allocation(bytes);
  return __libc_memalign(alignment, bytes);
}
#endif

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr,
                 "usage: quiet_step mlp|cnn|resnet|bilstm|one-call|one-allocation|one-aligned\n");
    return 2;
  }
  return kWatches ? watch(argv[1]) : 77;
}
