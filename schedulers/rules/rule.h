#pragma once

#include <cstdint>

#include "schedulers/rules/adaptive.h"
#include "schedulers/rules/constant.h"
#include "schedulers/rules/host_device.h"
#include "schedulers/rules/linear.h"
#include "schedulers/rules/signals.h"

namespace flyball {

enum class RuleKind : int32_t { kConstant = 0, kLinear = 1, kAdaptive = 2 };

// One learning-rate rule with its state: plain bytes that live in device memory and are saved as
// they are.
struct Rule {
  RuleKind kind = RuleKind::kConstant;
  int32_t reserved = 0;
  union {
    ConstantRule constant;
    LinearRule linear;
    AdaptiveRule adaptive;
  };
  FLYBALL_HOST_DEVICE Rule() : constant() {}
  FLYBALL_HOST_DEVICE Rule(const ConstantRule& rule) : kind(RuleKind::kConstant), constant(rule) {}
  FLYBALL_HOST_DEVICE Rule(const LinearRule& rule) : kind(RuleKind::kLinear), linear(rule) {}
  FLYBALL_HOST_DEVICE Rule(const AdaptiveRule& rule) : kind(RuleKind::kAdaptive), adaptive(rule) {}
};

// The rate of the very first step.
FLYBALL_HOST_DEVICE inline double first_rate(const Rule& rule) {
  switch (rule.kind) {
    case RuleKind::kConstant:
      return rule.constant.first_rate();
    case RuleKind::kLinear:
      return rule.linear.first_rate();
    case RuleKind::kAdaptive:
      return rule.adaptive.first_rate();
  }
  return 0;
}

// Runs the rule on the signals of the step that just ended; the answer holds from the next step on.
FLYBALL_HOST_DEVICE inline RateDecision update(Rule& rule, const StepSignals& signals) {
  switch (rule.kind) {
    case RuleKind::kConstant:
      return rule.constant.update(signals);
    case RuleKind::kLinear:
      return rule.linear.update(signals);
    case RuleKind::kAdaptive:
      return rule.adaptive.update(signals);
  }
  return {};
}

// Whether the optimizer has to compute <g, u>, |g|^2 and |u|^2, and whether it has to keep a copy
// of the weights.
FLYBALL_HOST_DEVICE inline bool reads_gradient_sums(RuleKind kind) {
  return kind == RuleKind::kAdaptive;
}
FLYBALL_HOST_DEVICE inline bool rolls_back(RuleKind kind) { return kind == RuleKind::kAdaptive; }

}  // namespace flyball
