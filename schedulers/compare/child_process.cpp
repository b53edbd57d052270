#include "schedulers/compare/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "kernels/error.h"

namespace flyball {
namespace {

// Between fork and exec: only calls that are safe there.
[[noreturn]] void become(const char* program, char* const* arguments, int errors, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // the parent was gone before the line above
  setpgid(0, 0);  // signals of the terminal go to the parent, which passes them on
  const int null = open("/dev/null", O_RDWR);
  dup2(null, STDIN_FILENO);
  dup2(null, STDOUT_FILENO);
  dup2(errors, STDERR_FILENO);
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  execv(program, arguments);
  dprintf(STDERR_FILENO, "%s: cannot run: %s\n", program, std::strerror(errno));
  _exit(127);
}

int code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

}  // namespace

ChildProcess::ChildProcess(const std::filesystem::path& program,
                           const std::vector<std::string>& arguments) {
  const std::string path = program.string();
  std::vector<char*> pointers{const_cast<char*>(path.c_str())};
  for (const std::string& argument : arguments)
    pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  errors_ = memfd_create("errors", MFD_CLOEXEC);
  if (errors_ < 0) throw std::runtime_error(str(path, ": cannot run: ", std::strerror(errno)));
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) become(path.c_str(), pointers.data(), errors_, parent);
  if (pid_ < 0) {
    close(errors_);
    throw std::runtime_error(str(path, ": cannot run: ", std::strerror(errno)));
  }
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      errors_(std::exchange(other.errors_, -1)),
      status_(std::exchange(other.status_, std::nullopt)) {}

ChildProcess::~ChildProcess() {
  if (pid_ > 0 && !status_.has_value()) {
    kill();
    wait();
  }
  if (errors_ >= 0) close(errors_);
}

std::optional<int> ChildProcess::poll() {
  int status = 0;
  if (!status_.has_value() && waitpid(pid_, &status, WNOHANG) == pid_) status_ = code_of(status);
  return status_;
}

int ChildProcess::wait() {
  int status = 0;
  while (!status_.has_value()) {
    if (waitpid(pid_, &status, 0) == pid_)
      status_ = code_of(status);
    else if (errno != EINTR)
      status_ = 127;
  }
  return *status_;
}

void ChildProcess::terminate() const { ::kill(pid_, SIGTERM); }
void ChildProcess::kill() const { ::kill(pid_, SIGKILL); }

std::string ChildProcess::last_error_line() const {
  constexpr off_t kMost = 4096;
  struct stat status {};
  fstat(errors_, &status);  // not lseek: the child shares the offset
  const off_t size = status.st_size;
  const off_t from = std::max<off_t>(0, size - kMost);
  std::string text(static_cast<size_t>(std::max<off_t>(0, size - from)), '\0');
  const ssize_t got = pread(errors_, text.data(), text.size(), from);
  text.resize(static_cast<size_t>(std::max<ssize_t>(0, got)));
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  const size_t line = text.find_last_of("\r\n");
  return line == std::string::npos ? text : text.substr(line + 1);
}

}  // namespace flyball
