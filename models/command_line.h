#pragma once

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>
#include <string>
#include <utility>

#include "kernels/error.h"

namespace flyball {

// app.parse(arguments ...). Prints the help and exits for --help; throws Error, one line, on
// anything wrong.
template <class... Arguments>
void parse_command_line(CLI::App& app, Arguments&&... arguments) {
  try {
    app.parse(std::forward<Arguments>(arguments)...);
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    std::exit(0);
  } catch (const CLI::ParseError& error) {
    const std::string text = error.what();  // of several lines sometimes
    throw Error(str(text.substr(0, text.find('\n')), " (--help lists the flags)"));
  }
}

}  // namespace flyball
