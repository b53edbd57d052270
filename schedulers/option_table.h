#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "kernels/error.h"

// Tables that say which options a struct has: key, member, valid values and meaning in one row. The
// default is what the member of a new struct holds.
namespace flyball {

// Numbers from low to high; an open end does not belong to them.
struct OptionRange {
  double low = 0, high = 0;
  bool low_open = false, high_open = false;

  bool contains(double x) const {  // false for NaN
    return (low_open ? x > low : x >= low) && (high_open ? x < high : x <= high);
  }
  std::string str() const {
    const char *left = low_open ? " < " : " <= ", *right = high_open ? " < " : " <= ";
    if (std::isinf(high)) return flyball::str(low_open ? "above " : "at least ", low);
    return flyball::str(low, left, "value", right, high);
  }
};

inline constexpr OptionRange kNotNegative{0, HUGE_VAL, false, true};
inline constexpr OptionRange kPositive{0, HUGE_VAL, true, true};
inline constexpr OptionRange kShare{0, 1, true, true};
inline constexpr OptionRange kCount{0, 1e9};
inline constexpr OptionRange kAtLeastOne{1, 1e9};

template <class T>
struct Option {
  using Member = std::variant<double T::*, int64_t T::*, int32_t T::*>;
  std::string key;
  Member member;
  std::variant<OptionRange, std::vector<std::string>> valid;  // or words: the i-th sets i
  std::string meaning;
};

inline std::string joined(const std::vector<std::string>& words, const std::string& between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

inline std::string expectation(const std::variant<OptionRange, std::vector<std::string>>& valid,
                               bool is_whole) {
  if (const auto* words = std::get_if<std::vector<std::string>>(&valid)) {
    return "one of: " + joined(*words, ", ");
  }
  return str(is_whole ? "a whole number, " : "a number, ", std::get<OptionRange>(valid).str());
}

// The whole text as a number, or nothing.
inline std::optional<double> number_in(const std::string& text) {
  if (text.empty() || text.find_first_not_of("0123456789+-.eE") != std::string::npos) return {};
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (*end != '\0') return {};
  return value;
}

// Sets the option's member of `target`; throws Error, starting with `where`, on a wrong text.
template <class T>
void set_option(T& target, const Option<T>& option, const std::string& text,
                const std::string& where) {
  std::visit(
      [&](auto member) {
        using Value = std::remove_reference_t<decltype(target.*member)>;
        constexpr bool kIsWhole = std::is_integral_v<Value>;
        if (const auto* words = std::get_if<std::vector<std::string>>(&option.valid)) {
          for (size_t i = 0; i < words->size(); ++i) {
            if ((*words)[i] == text) {
              target.*member = static_cast<Value>(i);
              return;
            }
          }
        } else if (const std::optional<double> value = number_in(text)) {
          const bool whole = !kIsWhole || *value == std::floor(*value);
          if (whole && std::get<OptionRange>(option.valid).contains(*value)) {
            target.*member = static_cast<Value>(*value);
            return;
          }
        }
        throw Error(str(where, option.key, " is '", text, "', expected ",
                        expectation(option.valid, kIsWhole)));
      },
      option.member);
}

// "min_lr=0 (a number, at least 0): meaning"
template <class T>
std::string describe(const Option<T>& option) {
  return std::visit(
      [&](auto member) {
        static const T defaults{};
        using Value = std::remove_cv_t<std::remove_reference_t<decltype(defaults.*member)>>;
        const auto* words = std::get_if<std::vector<std::string>>(&option.valid);
        const std::string value = words != nullptr ? (*words)[static_cast<size_t>(defaults.*member)]
                                                   : str(defaults.*member);
        return str(option.key, "=", value, " (",
                   expectation(option.valid, std::is_integral_v<Value>), "): ", option.meaning);
      },
      option.member);
}

}  // namespace flyball
