// Records what the first prototype of the adaptive rule answers, for tests/test_rules.cpp. The
// prototype is compiled in, so its path is given when this file is built:
//   g++ -std=c++20 -O1 -ffp-contract=off -DPROTOTYPE='"path/to/prototype.h"' \
//       make_controller_trace.cpp -o make_controller_trace && ./make_controller_trace FOLDER
// A small noisy quadratic is trained by Adam in double precision with the prototype in charge:
//   loss = 1/2 sum_i a_i (x_i - 0.1 e_i)^2 + 0.05,  a_i = 1 .. 100,  e_i: fresh noise each step.
// A trace: one header line (hint, total steps, window, 1: horizon-free), then one line a step:
// loss, <g, u>, |g|^2, |u|^2, the prototype's rate, its action (1 back, 2 snapshot, 3 skipped).

#include <math.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include PROTOTYPE

namespace {

constexpr int kSize = 24;

// Sum of four uniform numbers, scaled to variance 1: the same on every platform.
double noise(uint64_t& state) {
  double sum = 0;
  for (int i = 0; i < 4; ++i) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    sum += static_cast<double>(state >> 40) / 16777216.0 - 0.5;
  }
  return sum * 1.7320508075688772;
}

struct Trace {
  std::string name;
  double hint;
  int steps;
  int window;  // 0: the prototype's own
  bool horizon_free;
  std::vector<int> not_finite;
  int spike;
};

struct Quadratic {
  std::array<double, kSize> x{}, m{}, v{}, g{}, snapshot{};
  double beta1_power = 1, beta2_power = 1;

  static double curvature(int i) { return 1 + 99.0 * i / (kSize - 1); }
  double update(int i) const {
    if (beta1_power == 1) return 0;
    return m[i] / (1 - beta1_power) / (sqrt(v[i] / (1 - beta2_power)) + 1e-8);
  }
  double loss_and_gradient(uint64_t& state) {
    double loss = 0.05;
    for (int i = 0; i < kSize; ++i) {
      const double distance = x[i] - 0.1 * noise(state);
      g[i] = curvature(i) * distance;
      loss += 0.5 * curvature(i) * distance * distance;
    }
    return loss;
  }
  void step(double rate) {
    beta1_power *= 0.9;
    beta2_power *= 0.999;
    for (int i = 0; i < kSize; ++i) {
      m[i] = 0.9 * m[i] + 0.1 * g[i];
      v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
      x[i] -= rate * update(i);
    }
  }
  void roll_back() {
    x = snapshot;
    m.fill(0);
    v.fill(0);
    beta1_power = beta2_power = 1;
  }
};

void record(const Trace& trace, const std::string& folder) {
  std::map<std::string, double> options;
  if (trace.window > 0) options["W"] = trace.window;
  if (trace.horizon_free) options["shape"] = 3;
  Ctl controller;
  ctl_init(controller, trace.hint, trace.steps, options);
  Quadratic problem;
  problem.x.fill(0.4);
  uint64_t state = 17;
  FILE* file = fopen((folder + "/controller_" + trace.name + ".txt").c_str(), "w");
  fprintf(file, "%.9g %d %d %d\n", trace.hint, trace.steps, controller.W, trace.horizon_free);
  for (int t = 0; t < trace.steps; ++t) {
    float loss = static_cast<float>(problem.loss_and_gradient(state));
    if (t == trace.spike) loss *= 3000;
    if (trace.spike >= 0 && t == trace.spike - 40) loss *= 30;
    if (std::count(trace.not_finite.begin(), trace.not_finite.end(), t)) loss = NAN;
    double h = 0, gg = 0, uu = 0;
    for (int i = 0; i < kSize; ++i) {
      h += problem.g[i] * problem.update(i);
      gg += problem.g[i] * problem.g[i];
      uu += problem.update(i) * problem.update(i);
    }
    const float sums[] = {static_cast<float>(h), static_cast<float>(gg), static_cast<float>(uu)};
    const int action = ctl_step(controller, loss, 0, sums[0], sums[1], sums[2]);
    fprintf(file, "%.9g %.9g %.9g %.9g %.17g %d\n", loss, sums[0], sums[1], sums[2], controller.lr,
            action);
    if (action == 1) {
      problem.roll_back();
    } else if (isfinite(loss)) {
      if (action == 2) problem.snapshot = problem.x;
      problem.step(controller.lr);
    }
  }
  fclose(file);
  printf("%s: peak %g, growths %d, cuts %d, rollbacks %d\n", trace.name.c_str(), controller.peak,
         controller.ngrow, controller.ncut, controller.nroll);
}

}  // namespace

int main(int count, char** arguments) {
  const std::string folder = count > 1 ? arguments[1] : ".";
  record({"healthy", 1e-3, 400, 0, false, {}, -1}, folder);
  record({"spike", 1e-2, 300, 0, false, {}, 180}, folder);
  record({"nan", 1e-2, 300, 0, false, {120, 160, 161, 162, 220}, -1}, folder);
  record({"nan_in_probe", 1e-2, 200, 0, false, {30}, -1}, folder);
  record({"horizon_free", 1e-2, 400, 25, true, {}, -1}, folder);
  return 0;
}
