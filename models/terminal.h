#pragma once

#include <string>
#include <utility>
#include <vector>

#include "framework/trainer.h"

namespace flyball {

// Rows of name and value on standard output.
void print_table(const std::vector<std::pair<std::string, std::string>>& rows);

void print_evaluation(const Evaluation& evaluation);

std::string percent(double fraction);                  // "99.19%"
std::string number(const char* format, double value);  // as printf does it

}  // namespace flyball
