#include "datasets/imdb.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "framework/checksum.h"
#include "kernels/cpu/parallel.h"
#include "kernels/error.h"

namespace flyball {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kFilesOfPiece = 256;

const char* name_of(ImdbSplit split) { return split == ImdbSplit::train ? "train" : "test"; }

// folder or folder/aclImdb with the split's folders in it.
fs::path find_split(const fs::path& folder, ImdbSplit split) {
  const std::string remedy = str("; `datasets/fetch imdb ", folder.string(), "` downloads IMDB");
  std::error_code error;
  if (!fs::exists(folder, error)) {
    throw Error(str("imdb: folder ", folder.string(), " does not exist", remedy));
  }
  for (const fs::path& place : {folder, folder / "aclImdb"}) {
    if (!fs::is_directory(place / name_of(split), error)) continue;
    for (const char* label : {"neg", "pos"}) {
      if (fs::is_directory(place / name_of(split) / label, error)) continue;
      throw Error(
          str("imdb: ", (place / name_of(split)).string(), " has no folder ", label, remedy));
    }
    return place / name_of(split);
  }
  throw Error(str("imdb: no folders ", name_of(split), "/neg and ", name_of(split), "/pos in ",
                  folder.string(), " or its aclImdb/", remedy));
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::string name = entry->path().filename().string();
    if (name.ends_with(".txt")) names.push_back(std::move(name));
  }
  if (error) throw Error(str(folder.string(), ": cannot be read: ", error.message()));
  if (names.empty()) throw Error(str(folder.string(), ": no reviews, expected files *.txt"));
  std::sort(names.begin(), names.end());
  return names;
}

struct Review {
  std::string path;
  int32_t label;
};

std::vector<Review> list_reviews(const fs::path& folder, ImdbSplit split) {
  const fs::path place = find_split(folder, split);
  const std::vector<std::string> names[] = {names_in(place / "neg"), names_in(place / "pos")};
  std::vector<Review> reviews;
  for (size_t i = 0; i < std::max(names[0].size(), names[1].size()); ++i) {
    for (int32_t label = 0; label < 2; ++label) {
      if (i >= names[label].size()) continue;
      reviews.push_back(
          {str((place / (label == 0 ? "neg" : "pos") / names[label][i]).string()), label});
    }
  }
  return reviews;
}

// A descriptor that closes itself.
class OpenFile {
 public:
  explicit OpenFile(const std::string& path) : file_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~OpenFile() {
    if (file_ >= 0) close(file_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int get() const { return file_; }

 private:
  int file_;
};

std::string read_file(const std::string& path) {
  const auto fail = [&](int error) {
    throw Error(str(path, ": cannot be read: ", std::strerror(error)));
  };
  const OpenFile file(path);
  if (file.get() < 0) fail(errno);
  struct stat status = {};
  if (fstat(file.get(), &status) != 0) fail(errno);
  if (!S_ISREG(status.st_mode)) throw Error(str(path, ": is not a regular file"));
  std::string text(static_cast<size_t>(status.st_size), '\0');
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t got = read(file.get(), text.data() + done, text.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(errno);
    if (got == 0) throw Error(str(path, ": ends after ", done, " bytes, expected ", text.size()));
    done += static_cast<size_t>(got);
  }
  return text;
}

template <class Action>
void for_each_parallel(size_t count, const Action& action) {
  const auto size = static_cast<int64_t>(count);
  cpu::parallel_for((size + kFilesOfPiece - 1) / kFilesOfPiece, [&](int64_t piece) {
    const int64_t end = std::min(size, (piece + 1) * kFilesOfPiece);
    for (int64_t i = piece * kFilesOfPiece; i < end; ++i) action(static_cast<size_t>(i));
  });
}

uint64_t state_of(const Review& review) {
  struct stat status = {};
  if (stat(review.path.c_str(), &status) != 0) {
    throw Error(str(review.path, ": cannot be read: ", std::strerror(errno)));
  }
  Checksum sum;
  sum.add(review.path);
  sum.add(static_cast<uint64_t>(status.st_size));
  for (const timespec& time : {status.st_mtim, status.st_ctim}) {
    sum.add(static_cast<uint64_t>(time.tv_sec));
    sum.add(static_cast<uint64_t>(time.tv_nsec));
  }
  return sum.value();
}

}  // namespace

TextSamples load_imdb(const fs::path& folder, ImdbSplit split) {
  const std::vector<Review> reviews = list_reviews(folder, split);
  TextSamples samples{.name = str("imdb ", name_of(split))};
  for (const Review& review : reviews) samples.labels.push_back(review.label);
  samples.texts.resize(reviews.size());
  for_each_parallel(reviews.size(),
                    [&](size_t i) { samples.texts[i] = read_file(reviews[i].path); });
  return samples;
}

TextSource imdb_source(const fs::path& folder, ImdbSplit split) {
  const auto fingerprint = [folder, split] {
    const std::vector<Review> reviews = list_reviews(folder, split);
    std::vector<uint64_t> states(reviews.size());
    for_each_parallel(reviews.size(), [&](size_t i) { states[i] = state_of(reviews[i]); });
    Checksum sum;
    for (const uint64_t state : states) sum.add(state);
    return sum.value();
  };
  return {.name = str("imdb ", name_of(split)),
          .fingerprint = fingerprint,
          .read = [folder, split] { return load_imdb(folder, split); }};
}

}  // namespace flyball
