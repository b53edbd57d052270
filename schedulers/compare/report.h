#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "schedulers/compare/machine.h"
#include "schedulers/compare/statistics.h"

namespace flyball {

// Everything that report.html shows.
struct ReportData {
  const Plan& plan;
  const Machine& machine;
  int jobs = 1, threads = 1;
  const std::vector<Row>& rows;
  const std::vector<Failure>& failures;
  const std::vector<Group>& groups;
  const std::vector<Comparison>& comparisons;
};

// One self-contained page: style, script, data and the plotting library are inside. Where the
// library was not there when this program was built, the page has its tables and says what charts
// need.
std::string report_html(const ReportData& data);

// JSON that may stand inside a <script> element: "</" and "<!" cannot end or change it.
std::string script_safe(const std::string& json);

// Text without the folders of its absolute paths: "at /a/b/c: full" -> "at c: full". Where files
// lie on a machine is not for a page that is passed around.
std::string without_folders(const std::string& text);

// Replaces the one place `name` of a template; throws Error where it is not there once.
std::string fill_place(const std::string& text, std::string_view name, std::string_view value);

// What the build puts into the program; see CMakeLists.txt. The library is empty where it was not
// found.
std::string_view report_page();
std::string_view report_style();
std::string_view report_script();
std::string_view chart_library();

}  // namespace flyball
