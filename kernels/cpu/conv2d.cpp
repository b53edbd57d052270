#include "kernels/conv2d.h"

#include <algorithm>
#include <type_traits>

#include "kernels/cpu/backend.h"
#include "kernels/cpu/matrix_product.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/winograd.h"
#include "kernels/error.h"

// Convolution as a matrix product: columns[(image, p, q), (r, s, c)] holds the window that each
// output pixel sees, zeros for padding, and with the filters as a matrix F[k, (r, s, c)]
//   y = columns F^T,   dcolumns = dy F,   dF = dy^T columns.
namespace flyball::cpu {
namespace {

struct Columns;
struct Partials;

// Images per unrolled block, so that it stays near the cache; and per partial sum of dfilters.
constexpr int64_t kColumnBytes = int64_t{1} << 20;
constexpr int64_t kImagesPerPartial = 16;

int64_t window_size(const Conv2dShape& d) { return d.r * d.s * d.c; }

// An image is its own matrix of columns.
bool is_pointwise(const Conv2dShape& d) {
  return d.r == 1 && d.s == 1 && d.stride == 1 && d.padding == 0;
}

template <class T>
int64_t images_per_block(const Conv2dShape& d) {
  const int64_t bytes = d.p() * d.q() * window_size(d) * static_cast<int64_t>(sizeof(T));
  return std::clamp<int64_t>(kColumnBytes / std::max<int64_t>(bytes, 1), 1, kImagesPerPartial);
}

// Calls visit(offset in the image, offset in columns, count) for each run of elements that is
// contiguous in both, and skip(offset in columns, count) for each run of padding.
template <class Visit, class Skip>
void for_each_run(const Conv2dShape& d, Visit visit, Skip skip) {
  int64_t column = 0;
  for (int64_t p = 0; p < d.p(); ++p) {
    for (int64_t q = 0; q < d.q(); ++q) {
      const int64_t w = q * d.stride - d.padding;
      const int64_t left = std::clamp<int64_t>(-w, 0, d.s);
      const int64_t right = std::clamp<int64_t>(d.w - w, left, d.s);
      for (int64_t r = 0; r < d.r; ++r, column += d.s * d.c) {
        const int64_t h = p * d.stride + r - d.padding;
        if (h < 0 || h >= d.h || left == right) {
          skip(column, d.s * d.c);
          continue;
        }
        skip(column, left * d.c);
        visit((h * d.w + w + left) * d.c, column + left * d.c, (right - left) * d.c);
        skip(column + right * d.c, (d.s - right) * d.c);
      }
    }
  }
}

template <class T>
const T* unroll(const T* x, const Conv2dShape& d, int64_t images) {
  if (is_pointwise(d)) return x;
  const int64_t size = d.p() * d.q() * window_size(d);
  T* columns = scratch<Columns, T>(images * size);
  for (int64_t i = 0; i < images; ++i) {
    const T* image = x + i * d.h * d.w * d.c;
    T* to = columns + i * size;
    for_each_run(
        d,
        [&](int64_t from, int64_t column, int64_t count) {
          std::copy_n(image + from, count, to + column);
        },
        [&](int64_t column, int64_t count) { std::fill_n(to + column, count, T(0)); });
  }
  return columns;
}

template <class T>
void forward_block(const Conv2dForward<T>& f, int64_t first, int64_t images) {
  const Conv2dShape& d = f.shape;
  const int64_t pixels = images * d.p() * d.q(), window = window_size(d);
  T* y = f.y + first * d.p() * d.q() * d.k;
  multiply(MatrixProduct<T>{.a = unroll(f.x + first * d.h * d.w * d.c, d, images),
                            .b = f.filters,
                            .c = y,
                            .lda = window,
                            .ldb = window,
                            .ldc = d.k,
                            .m = pixels,
                            .n = d.k,
                            .k = window,
                            .transpose_b = true});
  add_bias_relu(y, d.k, f.bias, pixels, d.k, f.relu);
}

template <class T>
void backward_data_block(const Conv2dBackwardData<T>& b, int64_t first, int64_t images) {
  const Conv2dShape& d = b.shape;
  const int64_t pixels = d.p() * d.q(), window = window_size(d), image_size = d.h * d.w * d.c;
  T* dx = b.dx + first * image_size;
  T* dcolumns = is_pointwise(d) ? dx : scratch<Columns, T>(images * pixels * window);
  multiply(MatrixProduct<T>{.a = b.dy + first * pixels * d.k,
                            .b = b.filters,
                            .c = dcolumns,
                            .lda = d.k,
                            .ldb = window,
                            .ldc = window,
                            .m = images * pixels,
                            .n = window,
                            .k = d.k,
                            .accumulate = is_pointwise(d) && b.accumulate});
  if (is_pointwise(d)) return;
  if (!b.accumulate) std::fill_n(dx, images * image_size, T(0));
  for (int64_t i = 0; i < images; ++i) {
    for_each_run(
        d,
        [&](int64_t to, int64_t column, int64_t count) {
          T* out = dx + i * image_size + to;
          const T* in = dcolumns + i * pixels * window + column;
          for (int64_t j = 0; j < count; ++j) out[j] += in[j];
        },
        [](int64_t, int64_t) {});
  }
}

// dfilters (+)= the sum over images [first, first + images).
template <class T>
void backward_weights_block(const Conv2dBackwardWeights<T>& b, int64_t first, int64_t images,
                            T* dfilters, bool accumulate) {
  const Conv2dShape& d = b.shape;
  const int64_t pixels = d.p() * d.q(), window = window_size(d);
  multiply(MatrixProduct<T>{.a = b.dy + first * pixels * d.k,
                            .b = unroll(b.x + first * d.h * d.w * d.c, d, images),
                            .c = dfilters,
                            .lda = d.k,
                            .ldb = window,
                            .ldc = window,
                            .m = d.k,
                            .n = window,
                            .k = images * pixels,
                            .transpose_a = true,
                            .accumulate = accumulate});
}

// Calls run(first image, images) for blocks of at most width images, in parallel.
template <class Run>
void for_each_block(int64_t images, int64_t width, Run run) {
  parallel_for((images + width - 1) / width,
               [&](int64_t i) { run(i * width, std::min(width, images - i * width)); });
}

template <class T>
constexpr bool kHasOneDnn = std::is_same_v<T, float>&& FLYBALL_HAVE_ONEDNN;

// The call by `run`, of winograd.h, where that applies; whether it does. Never in f64.
template <class Arguments, class Run>
bool by_winograd(const Arguments& arguments, Run run) {
  if constexpr (std::is_invocable_v<Run, const Arguments&>) {
    if (!winograd::applies(arguments)) return false;
    run(arguments);
    return true;
  }
  return false;
}

void refuse_tf32(bool tf32) {
  if (tf32) throw Error("conv2d: tf32 needs a CUDA device of compute capability 8.0 or newer");
}

// Of tile t of the rows of y, which has been written.
template <class T>
void write_column_sums(const Conv2dForward<T>& f, int64_t t) {
  const int64_t k = f.shape.k, first = t * kColumnSumRows;
  const int64_t rows =
      std::min<int64_t>(kColumnSumRows, f.shape.n * f.shape.p() * f.shape.q() - first);
  const T* y = f.y + first * k;
  T* sums = f.column_sums + 2 * t * k;
  T* squares = sums + k;
  std::fill_n(sums, 2 * k, T(0));
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < k; ++j) sums[j] += y[i * k + j];
  }
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < k; ++j) {
      const T deviation = y[i * k + j] - sums[j] / static_cast<T>(rows);
      squares[j] += deviation * deviation;
    }
  }
}

bool has_output(const Conv2dShape& d) { return d.n > 0 && d.p() > 0 && d.q() > 0 && d.k > 0; }

}  // namespace

template <class T>
void conv2d_forward(const Conv2dForward<T>& f) {
  refuse_tf32(f.tf32);
  if (!has_output(f.shape)) return;
  bool done = by_winograd(f, winograd::conv2d_forward);
  if constexpr (kHasOneDnn<T>) {
    done = done || (backend() == Backend::kOneDnn && onednn::conv2d_forward(f));
  }
  if (!done) {
    for_each_block(f.shape.n, images_per_block<T>(f.shape),
                   [&](int64_t first, int64_t images) { forward_block(f, first, images); });
  }
  if (f.column_sums == nullptr) return;
  parallel_for(column_sum_tiles(f.shape), [&](int64_t t) { write_column_sums(f, t); });
}

template <class T>
void conv2d_backward_data(const Conv2dBackwardData<T>& b) {
  refuse_tf32(b.tf32);
  const Conv2dShape& d = b.shape;
  if (d.n == 0 || d.h * d.w * d.c == 0) return;
  if (by_winograd(b, winograd::conv2d_backward_data)) return;
  if constexpr (kHasOneDnn<T>) {
    if (backend() == Backend::kOneDnn && onednn::conv2d_backward_data(b)) return;
  }
  for_each_block(d.n, images_per_block<T>(d),
                 [&](int64_t first, int64_t images) { backward_data_block(b, first, images); });
}

template <class T>
void conv2d_backward_weights(const Conv2dBackwardWeights<T>& b) {
  refuse_tf32(b.tf32);
  const Conv2dShape& d = b.shape;
  const int64_t size = d.k * window_size(d);
  if (!has_output(d)) {
    if (!b.accumulate) std::fill_n(b.dfilters, size, T(0));
    return;
  }
  if (by_winograd(b, winograd::conv2d_backward_weights)) return;
  if constexpr (kHasOneDnn<T>) {
    if (backend() == Backend::kOneDnn && onednn::conv2d_backward_weights(b)) return;
  }
  // The first partial sum is made in dfilters itself, the others in scratch and added in order.
  const int64_t partial_count = (d.n + kImagesPerPartial - 1) / kImagesPerPartial;
  T* partials = scratch<Partials, T>((partial_count - 1) * size);
  for_each_block(d.n, kImagesPerPartial, [&](int64_t first, int64_t images) {
    T* partial = first == 0 ? b.dfilters : partials + (first / kImagesPerPartial - 1) * size;
    bool accumulate = first == 0 && b.accumulate;
    const int64_t width = images_per_block<T>(d);
    for (int64_t i = 0; i < images; i += width, accumulate = true) {
      backward_weights_block(b, first + i, std::min(width, images - i), partial, accumulate);
    }
  });
  for (int64_t i = 1; i < partial_count; ++i) add_to(b.dfilters, partials + (i - 1) * size, size);
}

template void conv2d_forward(const Conv2dForward<float>&);
template void conv2d_forward(const Conv2dForward<double>&);
template void conv2d_backward_data(const Conv2dBackwardData<float>&);
template void conv2d_backward_data(const Conv2dBackwardData<double>&);
template void conv2d_backward_weights(const Conv2dBackwardWeights<float>&);
template void conv2d_backward_weights(const Conv2dBackwardWeights<double>&);

}  // namespace flyball::cpu
