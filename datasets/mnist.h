#pragma once

#include <filesystem>

#include "framework/image_data.h"

namespace flyball {

enum class MnistSplit { train, test };

// MNIST: handwritten digits, [count, 28, 28, 1], ten classes. LeCun, Cortes, Burges 1998.
// `folder`, folder/mnist or folder/MNIST/raw holds {train,t10k}-images-idx3-ubyte and
// -labels-idx1-ubyte, each plain or .gz ("train-images.idx3-ubyte" is understood too).
// mean 0.1307 and deviation 0.3081 are those of the full training split, for the sample as well.
// Throws Error, one line with the file: nothing found (it says what was looked for), a damaged file
// (see read_idx), images that are not 28 x 28, counts that disagree, a label out of 0..9.
ImageData load_mnist(const std::filesystem::path& folder, MnistSplit split);

ImageData mnist_layout();  // its sizes, mean and deviation, without images

// Folder of the sample that comes with Flyball (see sample_folder.h): 4,000 training and 1,000 test
// images.
std::filesystem::path mnist_sample_folder();

}  // namespace flyball
