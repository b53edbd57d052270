#include "schedulers/compare/overall_progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "framework/progress.h"
#include "kernels/error.h"

namespace flyball {
namespace {

size_t terminal_width() {
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

}  // namespace

OverallProgress::OverallProgress(double work, int64_t runs)
    : work_(work), runs_(runs), terminal_(isatty(STDERR_FILENO) == 1), start_(Clock::now()) {}

OverallProgress::~OverallProgress() {
  if (drawn_) std::fprintf(stderr, "\r\033[K");
}

void OverallProgress::update(double work_done, int64_t runs_done, const std::string& now) {
  if (!terminal_) return;
  constexpr int kCells = 20;
  const double share = std::clamp(work_done / work_, 0.0, 1.0);
  std::string bar;
  for (int cell = 0; cell < kCells; ++cell) bar += cell < kCells * share ? "━" : "─";
  const double left =
      seconds_left(std::chrono::duration<double>(Clock::now() - start_).count(), work_done, work_);
  const std::string line =
      str(bar, ' ', static_cast<int>(100 * share), "%  ", runs_done, '/', runs_, " runs  ",
          left < 0 ? "--:--" : duration_text(left), " left  ", now);
  std::fprintf(stderr, "\r%s\033[K", cut_text(line, terminal_width() - 1).c_str());
  drawn_ = true;
}

void OverallProgress::message(const std::string& text) {
  std::fprintf(stderr, "%s%s\n", drawn_ ? "\r\033[K" : "", text.c_str());
}

double OverallProgress::seconds_left(double elapsed, double done, double work) {
  return done > 0 ? elapsed * std::max(0.0, work - done) / done : -1;
}

std::string cut_text(const std::string& text, size_t characters) {
  size_t seen = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool starts = (static_cast<unsigned char>(text[i]) & 0xc0) != 0x80;
    if (starts && seen++ == characters) return text.substr(0, i);
  }
  return text;
}

}  // namespace flyball
