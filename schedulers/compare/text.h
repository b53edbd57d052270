#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace flyball {

// The shortest text that reads back as the same number: "0.001", "1e-5"; "nan", "inf".
std::string number_text(double value);

// The number that `text` is as a whole; throws Error, naming `what`, where it is none.
double parse_number(const std::string& what, const std::string& text);

std::vector<std::string> split_text(std::string_view text, char separator);
std::string join_texts(const std::vector<std::string>& texts, const std::string& separator);

// A field of a CSV line by RFC 4180: in quotes, inner ones doubled, where it holds a quote, a comma
// or a line break.
std::string csv_field(const std::string& text);

}  // namespace flyball
