// What all kernels share. This text stands before that of every other file.
//
// Defined by the compiler's options: REAL, float or double; INPUT, the type of the stored inputs.
// Vectors and matrices of W workers stand side by side, and blockIdx.y is the worker's slot. `step` points to the number
// of this step in its segment, and slot w takes the first limits[w] steps.
// The same text is compiled for the CPU, where the tests' header defines CUDA_ON_CPU and SHARED.

#ifndef CUDA_ON_CPU
// A block's shared memory, of which the launch says the bytes.
#define SHARED(type, name) extern __shared__ __align__(16) char shared_memory[]; type* name = (type*)shared_memory

// A cluster of blocks (from sm_90 on): a barrier of all its threads, this block's number in it, and the address of
// another block's shared memory that corresponds to `at` in one's own.
__device__ inline void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
__device__ inline unsigned cluster_rank() {
  unsigned rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
template <class T> __device__ inline T* cluster_map(T* at, unsigned rank) {
  unsigned long long there;
  asm("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"((unsigned long long)at), "r"(rank));
  return (T*)there;
}
#endif
#define KERNEL extern "C" __global__ void

enum Activation { IDENTITY, RELU, SIGMOID, TANH, SOFTMAX };
enum Loss { SQUARED, CROSS, BINARY, HINGE, HUBER };

// A loop over n elements is divided between the threads of a row of blocks: from first() on, every stride()-th.
__device__ inline long first() { return blockIdx.x * (long)blockDim.x + threadIdx.x; }
__device__ inline long stride() { return gridDim.x * (long)blockDim.x; }

__device__ constexpr int up(int n, int by) { return (n + by - 1) / by; }  // n / by, rounded up

// n numbers that are read at once.
template <int n> struct alignas(n * sizeof(REAL) < 16 ? n * sizeof(REAL) : 16) Pack { REAL at[n]; };
template <int n> __device__ inline const Pack<n>& pack(const REAL* at) { return *(const Pack<n>*)at; }

// Four neighbouring inputs as they are stored; bytes in one word, so that they take one register.
template <class T> struct alignas(16) Four {
  T values[4];
  __device__ inline REAL get(int i) const { return (REAL)values[i]; }
  __device__ inline void set(int i, T value) { values[i] = value; }
};
template <> struct Four<unsigned char> {
  unsigned word;
  __device__ inline REAL get(int i) const { return (REAL)(word >> 8 * i & 255u); }
  __device__ inline void set(int i, unsigned char value) { word |= (unsigned)value << 8 * i; }
};

// Four inputs times `scale` -> x.
__device__ inline void place(REAL* x, const Four<INPUT>& four, REAL scale) {
  Pack<4> values;
#pragma unroll
  for (int j = 0; j < 4; j++) values.at[j] = four.get(j) * scale;
  *(Pack<4>*)x = values;
}

// Calls use(b, o, count) for every four neighbouring columns of a matrix (B, O): from column o of row b on, of which
// `count` are columns, the rest of the last four is not. Divided between the threads of a row of blocks.
template <class Use> __device__ inline void each_four(int B, int O, Use use) {
  const int fours = up(O, 4);
  for (long i = first(); i < (long)B * fours; i += stride()) {
    const int b = i >> 32 ? (int)(i / fours) : (int)((unsigned)i / (unsigned)fours);  // 64 bits take long to divide
    const int o = (int)(i - (long)b * fours) * 4;
    use(b, o, O - o < 4 ? O - o : 4);
  }
}

// Where the inputs (S, W, `width`) for this step and this worker begin.
template <class T> __device__ inline const T* step_inputs(const T* inputs, const int* step, int width) {
  return inputs + ((long)*step * gridDim.y + blockIdx.y) * width;
}

// The activation of a logit; softmax needs all of them.
__device__ inline REAL act(int kind, REAL z) {
  if (kind == RELU) return z > 0 || z != z ? z : 0;
  if (kind == SIGMOID) return (REAL)1 / ((REAL)1 + exp(-z));
  return kind == TANH ? tanh(z) : z;
}

// dL/dZ of d = dL/dA, by the operations of backends/numpy/activations.py in their order.
__device__ inline REAL delta(int kind, REAL a, REAL d) {
  if (kind == RELU) return a != 0 ? d : 0;
  if (kind == SIGMOID) return d * (((REAL)1 - a) * a);
  return kind == TANH ? d * ((REAL)1 - a * a) : d;
}

// Sum and maximum over the 32 lanes of a warp, in a fixed order: all lanes get the same.
template <class T> __device__ inline T warp_sum(T x) {
  for (int mask = 16; mask; mask /= 2) x += __shfl_xor_sync(~0u, x, mask);
  return x;
}
template <class T> __device__ inline T warp_max(T x) {
  for (int mask = 16; mask; mask /= 2) x = fmax(x, __shfl_xor_sync(~0u, x, mask));
  return x;
}

// Sum over a block of 2^n threads, in a fixed order: all threads get it. `sums`: shared memory, a number a thread.
__device__ inline double block_sum(double* sums, double x) {
  const int t = threadIdx.x;
  sums[t] = x;
  __syncthreads();
  for (int half = blockDim.x / 2; half; half /= 2) {
    if (t < half) sums[t] += sums[t + half];
    __syncthreads();
  }
  x = sums[0];
  __syncthreads();  // `sums` may be written again
  return x;
}

// The targets of one example: `values` (O,), or, if that is null, the number of its class.
struct Target {
  const REAL* values;
  int label, outputs;
  __device__ inline REAL of(int o) const {
    if (values) return values[o];
    return outputs == 1 ? (REAL)label : (REAL)(o == label);
  }
};

// Row `row` of labels (N,), or of targets (N, O) where labels is null.
__device__ inline Target target_of(const int* labels, const REAL* targets, int row, int O) {
  return labels ? Target{nullptr, labels[row], O} : Target{targets + (long)row * O, 0, O};
}

// The loss at an output with activation a and logit z, but that of cross-entropy, and its derivative dL/dA, or dL/dZ for
// the losses of logits (CROSS, BINARY): learners/losses.py. Not by fmin and fmax, which drop nan.
__device__ inline REAL loss_of(int loss, REAL z, REAL a, REAL t, REAL threshold) {
  if (loss == BINARY) return act(RELU, z) - t * z + log1p(exp(-fabs(z)));
  if (loss == HINGE) return act(RELU, (REAL)1 - ((REAL)2 * t - (REAL)1) * a);
  const REAL size = fabs(a - t), inside = loss == HUBER && size > threshold ? threshold : size;
  return inside * (size - (REAL)0.5 * inside);
}
__device__ inline REAL loss_derivative(int loss, REAL a, REAL t, REAL threshold) {
  const REAL d = a - t, sign = (REAL)2 * t - (REAL)1;
  if (loss == HINGE) return sign * a < 1 ? -sign : 0;
  if (loss == HUBER) return d > threshold ? threshold : d < -threshold ? -threshold : d;
  return d;
}

// A warp computes the activations a (O,) of an example's logits z (O,), which may be the same memory, and its loss.
// Lane l has outputs l, l + 32, ..., and returns its part of the loss.
__device__ inline double forward_head(const REAL* z, REAL* a, const Target& target, int O, int kind, int loss, REAL threshold, int lane) {
  double lost = 0;
  if (kind == SOFTMAX) {
    REAL top = (REAL)-3.4e38, sum = 0;  // of floats, the lowest
    for (int o = lane; o < O; o += 32) top = fmax(top, z[o]);
    top = warp_max(top);
    for (int o = lane; o < O; o += 32) {
      const REAL below = z[o] - top;
      if (loss == CROSS) lost -= target.of(o) * below;
      a[o] = exp(below);
      sum += a[o];
    }
    sum = warp_sum(sum);
    if (loss == CROSS && lane == 0) lost += log(sum);
    for (int o = lane; o < O; o += 32) {
      a[o] = a[o] / sum;
      if (loss != CROSS) lost += loss_of(loss, 0, a[o], target.of(o), threshold);
    }
  } else {
    for (int o = lane; o < O; o += 32) {
      const REAL logit = z[o];
      a[o] = act(kind, logit);
      lost += loss_of(loss, logit, a[o], target.of(o), threshold);
    }
  }
  return lost;
}

// The same warp then turns the activations d (O,) into deltas `share` dL/dZ, in place.
__device__ inline void backward_head(REAL* d, const Target& target, int O, int kind, int loss, REAL threshold, REAL share, int lane) {
  REAL dot = 0;
  if (kind == SOFTMAX && loss != CROSS) {
    for (int o = lane; o < O; o += 32) dot += d[o] * loss_derivative(loss, d[o], target.of(o), threshold);
    dot = warp_sum(dot);
  }
  for (int o = lane; o < O; o += 32) {
    const REAL a = d[o];
    REAL x = loss_derivative(loss, a, target.of(o), threshold);
    if (kind == SOFTMAX) {
      if (loss != CROSS) x = (x - dot) * a;
    } else if (loss != BINARY) {
      x = delta(kind, a, x);
    }
    d[o] = x * share;
  }
}
