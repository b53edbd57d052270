#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace flyball {

// A program that runs beside this one. Its standard output is dropped, what it writes on standard
// error is kept in memory. It dies with this process, even if that is killed.
class ChildProcess {
 public:
  ChildProcess(const std::filesystem::path& program, const std::vector<std::string>& arguments);
  ~ChildProcess();  // kills what still runs, and waits for it
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;

  // The exit status once it has ended: the exit code, or 128 + the signal that ended it.
  std::optional<int> poll();
  int wait();
  void terminate() const;  // asks it to stop
  void kill() const;
  std::string last_error_line() const;  // "" where it wrote none

 private:
  pid_t pid_ = -1;
  int errors_ = -1;  // a file in memory
  std::optional<int> status_;
};

}  // namespace flyball
