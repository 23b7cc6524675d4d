// Kernels of a network whose results agree with numpy's to a tolerance: exponentials, logarithms, sums in another order.
// The orders of their sums are fixed, so that the same work gives the same bits.

// Logits -> activations of O outputs, in place: A (W, B, line), line a multiple of 4. Not softmax, which is for the last
// layer.
KERNEL activate(REAL* A, int kind, int B, int O, int line) {
  A += (long)blockIdx.y * B * line;
  each_four(B, O, [&](int b, int o, int count) {
    REAL* a = A + (long)b * line + o;
    Pack<4> values = pack<4>(a);
#pragma unroll
    for (int j = 0; j < 4; j++)
      if (j < count) values.at[j] = act(kind, values.at[j]);
    *(Pack<4>*)a = values;
  });
}

// The last layer's logits Z (W, B, line) -> deltas dL/dZ times a share in D (W, B, lined), and the examples' losses are
// added to `losses` (W, B). The share is 1/B, or -rate/B for steps that descend by the product of activations and
// deltas; factors (S, W, 4) begin with the rate then. A worker that takes no step gets deltas of 0.
// labels (N,), or targets (N, O) where labels is null. A warp takes an example: blocks of 128 threads, grid
// (ceil(B / 4), W).
KERNEL output(const REAL* Z, REAL* D, const int* labels, const REAL* targets, const int* rows, const int* step, const int* limits, const REAL* factors, int B, int O, int line, int lined, int kind, int loss, REAL threshold, int descends, double* losses) {
  const int w = blockIdx.y, lane = threadIdx.x % 32, b = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (b >= B) return;  // the whole warp
  REAL* d = D + ((long)w * B + b) * lined;
  if (*step >= limits[w]) {
    for (int o = lane; o < O; o += 32) d[o] = 0;
    return;
  }
  const REAL share = (descends ? -step_inputs(factors, step, 4)[0] : (REAL)1) / (REAL)B;
  const Target target = target_of(labels, targets, step_inputs(rows, step, B)[b], O);
  const double lost = warp_sum(forward_head(Z + ((long)w * B + b) * line, d, target, O, kind, loss, threshold, lane));
  backward_head(d, target, O, kind, loss, threshold, share, lane);
  if (lane == 0) losses[(long)w * B + b] += lost;
}

// The squared norms of g + w gs (P,), in parts: partial (W, blocks). Block k sums the elements of its threads, then
// those sums. Grid (blocks, W), 256 threads, shared memory of 8 bytes a thread.
KERNEL squares(const REAL* g, long gs, long P, int blocks, double* partial) {
  SHARED(double, sums);
  g += blockIdx.y * gs;
  double sum = 0;
  for (long i = blockIdx.x * (long)blockDim.x + threadIdx.x; i < P; i += (long)blocks * blockDim.x) sum += (double)g[i] * (double)g[i];
  sum = block_sum(sums, sum);
  if (threadIdx.x == 0) partial[(long)blockIdx.y * blocks + blockIdx.x] = sum;
}

// clip[w] <- what limits a gradient to the norm allowed (Optimizer.clip). Grid (1, W), 256 threads, 8 bytes a thread.
KERNEL clip_factor(const double* partial, int blocks, double norm, REAL* clip) {
  SHARED(double, sums);
  partial += (long)blockIdx.y * blocks;
  double sum = 0;
  for (int i = threadIdx.x; i < blocks; i += blockDim.x) sum += partial[i];
  sum = block_sum(sums, sum);
  if (threadIdx.x == 0) clip[blockIdx.y] = sum <= norm * norm ? (REAL)1 : (REAL)(norm / sqrt(sum));
}

// out[w] <- the sum of losses (W, B). Grid (1, W), 256 threads, 8 bytes a thread.
KERNEL total(const double* losses, int B, double* out) {
  SHARED(double, sums);
  losses += (long)blockIdx.y * B;
  double sum = 0;
  for (int b = threadIdx.x; b < B; b += blockDim.x) sum += losses[b];
  sum = block_sum(sums, sum);
  if (threadIdx.x == 0) out[blockIdx.y] = sum;
}

// Whether (x, i) comes before (y, j) as the place of the maximum, as np.argmax has it: the first, and of nan the first.
__device__ inline bool comes_before(REAL x, int i, REAL y, int j) {
  if (x != x || y != y) return x != x && (y == y || i < j);
  return x > y || (x == y && i < j);
}

// A warp's np.argmax of x(0) ... x(O - 1).
template <class F> __device__ inline int warp_argmax(F x, int O, int lane) {
  int at = lane < O ? lane : 0;
  REAL most = x(at);
  for (int o = lane + 32; o < O; o += 32)
    if (comes_before(x(o), o, most, at)) most = x(o), at = o;
  for (int mask = 16; mask; mask /= 2) {
    const REAL other = __shfl_xor_sync(~0u, most, mask);
    const int other_at = __shfl_xor_sync(~0u, at, mask);
    if (comes_before(other, other_at, most, at)) most = other, at = other_at;
  }
  return at;
}

// The losses of `count` examples, and how many are classified correctly -> out (chunks, 2): sums over B examples each,
// the last of them over fewer. Z (count, line) holds logits, and afterwards activations, of the examples of `rows`. A
// single output above `half` is the second class. Grid (1, chunks), 256 threads, 8 bytes a thread.
KERNEL score(REAL* Z, const int* labels, const REAL* targets, const int* rows, int count, int B, int O, int line, int kind, int loss, REAL threshold, REAL half, double* out) {
  SHARED(double, sums);
  const int lane = threadIdx.x % 32, warps = blockDim.x / 32, start = blockIdx.y * B, stop = start + B < count ? start + B : count;
  double lost = 0, right = 0;
  for (int b = start + threadIdx.x / 32; b < stop; b += warps) {
    REAL* a = Z + (long)b * line;
    const Target target = target_of(labels, targets, rows[b], O);
    lost += warp_sum(forward_head(a, a, target, O, kind, loss, threshold, lane));
    __syncwarp();  // lanes without an output look at the first
    const bool hit = O == 1 ? (half < a[0]) == (target.of(0) > (REAL)0.5)
                            : warp_argmax([&](int o) { return a[o]; }, O, lane) == warp_argmax([&](int o) { return target.of(o); }, O, lane);
    right += hit;
  }
  lost = block_sum(sums, lane ? 0 : lost);
  right = block_sum(sums, lane ? 0 : right);
  if (threadIdx.x == 0) out[2 * blockIdx.y] = lost, out[2 * blockIdx.y + 1] = right;
}
