#pragma once

#include <filesystem>
#include <string>

namespace flyball {

// Folder of a sample that comes with Flyball: $FLYBALL_SAMPLES/SET where that variable is set, else
// datasets/samples/SET of the source tree, else share/flyball/samples/SET beside the bin/ folder of
// the running program. Throws Error where none of them exists.
std::filesystem::path sample_folder(const std::string& set);

}  // namespace flyball
