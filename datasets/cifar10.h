#pragma once

#include <filesystem>

#include "framework/image_data.h"

namespace flyball {

enum class Cifar10Split { train, test };

// CIFAR-10: colour photographs, [count, 32, 32, 3], ten classes. Krizhevsky 2009, "Learning
// Multiple Layers of Features from Tiny Images". `folder`, folder/cifar-10-batches-bin or
// folder/cifar10 holds data_batch_1.bin to data_batch_5.bin (train) and test_batch.bin (test), each
// plain or .gz. A record is 3073 bytes: the label, then the red, the green and the blue plane, row
// by row; the planes are interleaved here. All five training files are needed, except where
// data_batch_1-indices.txt marks an excerpt, which has the first alone. Mean (0.4914, 0.4822,
// 0.4465) and deviation (0.2470, 0.2435, 0.2616) are those of the full training split, for excerpts
// as well. Throws Error, one line with the file: nothing found (it says what was looked for), an
// empty file, a size that is no multiple of 3073, a label out of 0..9, damaged gzip data.
ImageData load_cifar10(const std::filesystem::path& folder, Cifar10Split split);

ImageData cifar10_layout();  // its sizes, mean and deviation, without images

// Folder of the sample that comes with Flyball (see sample_folder.h): 1,000 training and 500 test
// images.
std::filesystem::path cifar10_sample_folder();

}  // namespace flyball
