#include "models/terminal.h"

#include <algorithm>
#include <cstdio>

#include "framework/progress.h"

namespace flyball {

void print_table(const std::vector<std::pair<std::string, std::string>>& rows) {
  size_t width = 0;
  for (const auto& row : rows) width = std::max(width, row.first.size());
  for (const auto& [name, value] : rows) {
    std::printf("  %-*s  %s\n", static_cast<int>(width), name.c_str(), value.c_str());
  }
}

void print_evaluation(const Evaluation& evaluation) {
  print_table(
      {{"samples", count_text(evaluation.samples)},
       {"loss", number("%.4f", evaluation.loss)},
       {"accuracy", percent(evaluation.accuracy)},
       {"seconds", number("%.2f", evaluation.seconds)},
       {"samples/s", number("%.0f", static_cast<double>(evaluation.samples) / evaluation.seconds)},
       {"steps/s", number("%.1f", static_cast<double>(evaluation.steps) / evaluation.seconds)}});
}

std::string percent(double fraction) { return number("%.2f%%", 100 * fraction); }

std::string number(const char* format, double value) {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

}  // namespace flyball
