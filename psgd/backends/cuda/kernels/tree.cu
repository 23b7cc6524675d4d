// The tree reduction of group/tree_reduce.py, bit for bit, unrolled for a number of WORKERS, with which it is compiled.

// The sum under a node, which covers the workers [WORKER, WORKER + 2^LEVEL): false if none of them has a weight. A leaf
// is weight x contribution, and a node with one child is that child.
template <int WORKER, int LEVEL> __device__ inline bool node(const REAL* const* leaves, const REAL* weights, long i, REAL& sum) {
  if constexpr (WORKER >= WORKERS) {
    return false;
  } else if constexpr (LEVEL == 0) {
    if (weights[WORKER] == 0) return false;
    sum = leaves[WORKER][i] * weights[WORKER];
    return true;
  } else {
    REAL right = 0;
    const bool has_left = node<WORKER, LEVEL - 1>(leaves, weights, i, sum);
    const bool has_right = node<WORKER + (1 << (LEVEL - 1)), LEVEL - 1>(leaves, weights, i, right);
    if (has_right) sum = has_left ? sum + right : right;
    return has_left || has_right;
  }
}
__device__ constexpr int height(int workers) { return workers > 1 ? 1 + height((workers + 1) / 2) : 0; }

// The tree of leaves[worker] (C, P) times weights[worker] over the elements [start, stop) of each row -> out[k] (C, P),
// k < outs. nan if no worker has a weight. Grid (n, C).
KERNEL reduce(const REAL* const* leaves, const REAL* weights, REAL* const* out, int outs, long start, long stop, long P) {
  for (long i = start + first(); i < stop; i += stride()) {
    REAL sum = 0;
    if (!node<0, height(WORKERS)>(leaves, weights, blockIdx.y * P + i, sum)) sum = sum / sum;
    for (int k = 0; k < outs; k++) out[k][blockIdx.y * P + i] = sum;
  }
}
