#include "kernels/cpu/parallel.h"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/error.h"

namespace flyball::cpu {
namespace {

std::atomic<int> thread_count{1};
thread_local bool inside_body = false;

struct Job {
  int64_t count;
  void (*body)(void* context, int64_t i);
  void* context;
  std::atomic<int64_t> next{0};
  std::mutex error_mutex{};
  std::exception_ptr error{};

  void work() {
    inside_body = true;
    try {
      for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) body(context, i);
    } catch (...) {
      next.store(count, std::memory_order_relaxed);
      const std::lock_guard lock(error_mutex);
      if (!error) error = std::current_exception();
    }
    inside_body = false;
  }
};

class Pool {
 public:
  ~Pool() { stop_workers(); }

  void resize(int workers) {
    const std::lock_guard call(call_mutex_);
    stop_workers();
    stopping_ = false;
    for (int i = 0; i < workers; ++i) workers_.emplace_back([this] { serve(); });
    thread_count.store(workers + 1, std::memory_order_relaxed);
  }

  // False when another thread's call has the workers.
  bool run(Job& job) {
    const std::unique_lock call(call_mutex_, std::try_to_lock);
    if (!call.owns_lock()) return false;
    {
      const std::lock_guard lock(mutex_);
      job_ = &job;
      ++generation_;
    }
    if (job.count > static_cast<int64_t>(workers_.size())) {
      wake_.notify_all();
    } else {
      for (int64_t i = 1; i < job.count; ++i) wake_.notify_one();
    }
    job.work();
    // Workers that have not woken up by now find no job and go back to sleep.
    std::unique_lock lock(mutex_);
    job_ = nullptr;
    finished_.wait(lock, [this] { return active_ == 0; });
    return true;
  }

 private:
  void serve() {
    uint64_t seen = 0;
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return stopping_ || (job_ != nullptr && generation_ != seen); });
      if (stopping_) return;
      seen = generation_;
      Job* job = job_;
      ++active_;
      lock.unlock();
      job->work();
      lock.lock();
      if (--active_ == 0) finished_.notify_one();
    }
  }

  void stop_workers() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
  }

  std::mutex call_mutex_;  // held during one parallel call
  std::mutex mutex_;       // guards what follows
  std::condition_variable wake_, finished_;
  Job* job_ = nullptr;
  uint64_t generation_ = 0;
  int active_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

Pool& pool() {
  static Pool instance;
  return instance;
}

}  // namespace

void set_threads(int count) {
  if (count < 1) throw Error(str("set_threads: count is ", count, ", expected at least 1"));
  if (inside_body) throw Error("set_threads: called from inside a parallel body");
  if (count != threads()) pool().resize(count - 1);
}

int threads() { return thread_count.load(std::memory_order_relaxed); }

void detail::run_parallel(int64_t count, void (*body)(void* context, int64_t i), void* context) {
  if (!inside_body && count > 1) {
    Job job{count, body, context};
    if (pool().run(job)) {
      if (job.error) std::rethrow_exception(job.error);
      return;
    }
  }
  for (int64_t i = 0; i < count; ++i) body(context, i);
}

}  // namespace flyball::cpu
