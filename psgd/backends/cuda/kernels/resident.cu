// All steps of a segment for a small network, in one launch: a worker is a cluster of blocks, whose shared memory keeps
// the weights, the optimizer's vectors and a batch. Results agree with numpy's to a tolerance; the orders of all sums
// are fixed.
//
// Each block has a part of the inputs (the network's first columns), for all examples; those weights of the first layer
// that multiply them; and a part of the examples, for all else. All blocks have copies of the other parameters (biases
// of the first layer, the other layers), each of which one block updates for all. A step:
//   1. this block's part of the first layer's sums, sent to the blocks that have the examples;
//   2. the cluster meets; a warp takes an example forward and back, and sends its activations and deltas to all blocks;
//   3. the cluster meets; gradients over all examples, updates. Updated copies are sent to the other blocks.
// The next step's inputs are on their way from the device's memory while 2 is computed.
//
// Stands behind cluster.cu. Grid (CLUSTER, W).

// One step of the rule for the parameter p with gradient g and rows of state `apart` from each other: as in exact.cu.
__device__ inline REAL updated(REAL p, REAL g, REAL* state, int apart, const REAL (&f)[4]) {
  if (RULE == SGD) return p - g * f[0];
  const REAL m = state[0] * f[0] + g;
  state[0] = m;
  if (RULE == MOMENTUM) return p - m * f[1];
  if (RULE == NESTEROV) return p - g * f[1] - m * f[2];
  REAL v = state[apart] * f[1] + g * g;
  state[apart] = v;
  if (RULE == AMSGRAD) {
    const REAL largest = state[2 * apart];
    if (largest >= v || largest != largest) v = largest;  // as np.maximum, which keeps nan
    state[2 * apart] = v;
  }
  return p - m / (sqrt(v) + f[2]) * f[3];
}

// Sums of tiles of R x Q numbers, LANES threads a tile: each adds its terms by add(tile, lane, sums), and then
// use(tile, r, q, sum) is called once for each number, by one of them.
template <int TILES, int LANES, int R, int Q, class Add, class Use> __device__ inline void sum_tiles(Add add, Use use) {
  const int t = anew(threadIdx.x), lane = t % LANES;
  for (int base = 0; base < TILES * LANES; base += THREADS) {
    if (base + t / 32 * 32 >= TILES * LANES) break;  // the whole warp
    const int tile = (base + t) / LANES;
    REAL sums[R][Q] = {};
    add(min(tile, TILES - 1), lane, sums);
#pragma unroll
    for (int r = 0; r < R; r++)
#pragma unroll
      for (int q = 0; q < Q; q++) {
#pragma unroll
        for (int mask = LANES / 2; mask; mask /= 2) sums[r][q] += __shfl_xor_sync(~0u, sums[r][q], mask);
        if ((r * Q + q) % LANES == lane && tile < TILES) use(tile, r, q, sums[r][q]);
      }
  }
}

// Four inputs of example b from number i of this block's `mine` on, which begin at `begin`; 0 for those behind.
__device__ inline Four<INPUT> fetch(const INPUT* inputs, const int* rows, int b, int i, int begin, int mine) {
  Four<INPUT> four = {};
  const INPUT* from = inputs + (long)rows[b] * F + begin + i;
  if constexpr (F % 4 == 0) {
    if (i < mine) four = *(const Four<INPUT>*)from;
  } else {
#pragma unroll
    for (int j = 0; j < 4; j++)
      if (i + j < mine) four.set(j, from[j]);
  }
  return four;
}

// A warp takes example e, number `own` of this block's, forward from layer l on: logits -> activations, which are sent
// to all blocks. The logits of the last layer are left in its deltas.
template <int l> __device__ inline void forward(REAL* memory, int e, int own, int lane) {
  using Y = Layer<l>;
  const REAL* weights = memory + OTHERS + Y::rest;
  for (int o = lane; o < Y::O; o += 32) {
    REAL z;
    if constexpr (l == 0) {
      z = weights[o];
      for (int r = 0; r < CLUSTER; r++) z += memory[Z + (r * EXAMPLES + own) * O0 + o];
    } else {
      const REAL* a = memory + A + Layer<l - 1>::activations + e * Layer<l - 1>::line;
      z = weights[Y::I * Y::line + o];
#pragma unroll 8
      for (int i = 0; i < Y::I; i++) z = fma(a[i], weights[i * Y::line + o], z);
    }
    if (l < L - 1) write_all(memory, A + Y::activations + e * Y::line + o, act(HIDDEN, z));
    else memory[D + Y::deltas + e * Y::delta_line + o] = z;
  }
  __syncwarp();
  if constexpr (l < L - 1) forward<l + 1>(memory, e, own, lane);
}

// The same warp takes its deltas back from layer l to those below, and sends them to all blocks.
template <int l> __device__ inline void back(REAL* memory, int e, int lane) {
  if constexpr (l > 0) {
    using Y = Layer<l>;
    using Below = Layer<l - 1>;
    const REAL *weights = memory + OTHERS + Y::rest, *d = memory + D + Y::deltas + e * Y::delta_line;
    for (int i = lane; i < Y::I; i += 32) {
      REAL sum = 0;
#pragma unroll 8
      for (int o = 0; o < Y::O; o++) sum = fma(weights[i * Y::line + o], d[o], sum);
      const REAL a = memory[A + Below::activations + e * Below::line + i];
      write_all(memory, D + Below::deltas + e * Below::delta_line + i, delta(HIDDEN, a, sum));
    }
    __syncwarp();
    back<l - 1>(memory, e, lane);
  }
}

// Parameter k of `rest`: its place there, and the activations and deltas of its gradient, from example to example.
struct Parameter { int at, a, a_step, d, d_step; };
template <int l = 0> __device__ inline Parameter parameter(int k) {
  using Y = Layer<l>;
  if constexpr (l < L - 1)
    if (k >= Y::counted) return parameter<l + 1>(k);
  k -= Y::counted - Y::parameters;
  const int i = l ? k / Y::O : Y::I, o = k % Y::O;
  Parameter found = {OTHERS + Y::rest + (l ? i * Y::line : 0) + o, ONE, 0, D + Y::deltas + o, Y::delta_line};
  if constexpr (l > 0)
    if (i < Y::I) found.a = A + Layer<l - 1>::activations + i, found.a_step = Layer<l - 1>::line;
  return found;
}

// Calls use(place in shared memory, place in a vector of P) for the parameters of this block, and its optimizer's.
template <class Use> __device__ inline void each_row(Use use, int row, int rank, int mine) {
  const int first_other = rank * SHARE;
  for (int k = threadIdx.x; k < mine * O0; k += THREADS) use((row ? STATE + (row - 1) * OWN : WEIGHTS) + k, rank * INPUTS * O0 + k);
  for (int k = threadIdx.x; k < SHARE && first_other + k < REST; k += THREADS)
    use(row ? OTHER_STATE + (row - 1) * SHARE + k : parameter(first_other + k).at, SKIPPED + first_other + k);
}

// `limits[w]` steps of worker w's parameters vectors + w vs (P,) and its optimizer's rows at moments + w ms + r P. Rows
// (S, W, B) of inputs (N, F), times `scale`, and of labels (N,), or of targets (N, O) where labels is null; factors
// (S, W, 4) of the rule. The examples' losses are added to losses (W, B), several to one of its numbers.
KERNEL __cluster_dims__(CLUSTER, 1, 1) __launch_bounds__(THREADS, 1) resident(REAL* vectors, long vs, REAL* moments, long ms, const INPUT* inputs, const int* labels, const REAL* targets, const int* rows, const REAL* factors, const int* limits, REAL scale, REAL threshold, double* losses) {
  SHARED(REAL, memory);
  const int rank = blockIdx.x, w = blockIdx.y, t = threadIdx.x, lane = t % 32, warp = t / 32, steps = limits[w];
  if (steps <= 0) return;  // the whole cluster
  const int begin = rank * INPUTS, mine = max(0, min(INPUTS, F - begin));
  const int of_warp = rank * EXAMPLES + warp, examples_end = min(B, (rank + 1) * EXAMPLES);  // every WARPS-th is a warp's
  REAL* const vector = vectors + w * vs;
  REAL* const moment = moments + w * ms;
  for (int k = mine * O0 + t; k < OWN; k += THREADS) memory[WEIGHTS + k] = 0;  // they multiply inputs of 0
  for (int row = 0; row <= ROWS; row++) {
    const REAL* from = row ? moment + (row - 1) * P : vector;
    each_row([&](int at, long k) { memory[at] = from[k]; }, row, rank, mine);
  }
  for (int k = t; k < REST; k += THREADS) memory[parameter(k).at] = vector[SKIPPED + k];
  if (t == 0) memory[ONE] = 1;

  // What comes from the device's memory is asked for a step before it is needed: the first KEPT of a thread's inputs; row
  // and class of the warp's example number `lane`.
  constexpr int FOURS = B * INPUTS / 4, EACH = up(FOURS, THREADS), KEPT = at_most(EACH, 32 / (int)sizeof(INPUT));
  Four<INPUT> kept[KEPT];
  int row = 0, label = 0;
  const auto ask = [&](int step) {
    const int t = anew(threadIdx.x);
    const int* const now = rows + ((long)step * gridDim.y + w) * B;
#pragma unroll
    for (int n = 0; n < KEPT; n++) {
      const int k = t + n * THREADS;
      if (k < FOURS) kept[n] = fetch(inputs, now, k / (INPUTS / 4), k % (INPUTS / 4) * 4, begin, mine);
    }
    if (of_warp + lane * WARPS >= examples_end) return;
    row = now[of_warp + lane * WARPS];
    if (labels) label = labels[row];
  };
  const auto take = [&](int step) {
    const int t = anew(threadIdx.x);
    const int* const now = rows + ((long)step * gridDim.y + w) * B;
#pragma unroll
    for (int n = 0; n < KEPT; n++) {
      const int k = t + n * THREADS;
      if (k < FOURS) place(memory + X + k / (INPUTS / 4) * LINE + k % (INPUTS / 4) * 4, kept[n], scale);
    }
    for (int k = t + KEPT * THREADS; k < FOURS; k += THREADS) {
      const int b = k / (INPUTS / 4), i = k % (INPUTS / 4) * 4;
      place(memory + X + b * LINE + i, fetch(inputs, now, b, i, begin, mine), scale);
    }
  };
  ask(0);
  take(0);
  double lost = 0;
  meet();

  for (int step = 0; step < steps; step++) {
    REAL f[4];
    for (int k = 0; k < 4; k++) f[k] = factors[((long)step * gridDim.y + w) * 4 + k];
    const int now_row = row, now_label = label;

    // 1. Tiles of the first layer's sums: two examples, and as many outputs as are read at once.
    constexpr int TQ = O0 % 4 == 0 ? 4 : O0 % 2 == 0 ? 2 : 1, ACROSS = O0 / TQ, PAIRS = up(B, 2) * ACROSS;
    constexpr int PAIR_LANES = lanes_each(PAIRS, INPUTS / 4);
    sum_tiles<PAIRS, PAIR_LANES, 2, TQ>(
        [&](int tile, int from, REAL (&sums)[2][TQ]) {
          const int e = tile / ACROSS * 2, o = tile % ACROSS * TQ;
          const REAL *x0 = memory + X + e * LINE, *x1 = memory + X + min(e + 1, B - 1) * LINE, *weights = memory + WEIGHTS + o;
#pragma unroll 2
          for (int i = from * 4; i < INPUTS; i += PAIR_LANES * 4) {
            const Pack<4> a = pack<4>(x0 + i), b = pack<4>(x1 + i);
#pragma unroll
            for (int j = 0; j < 4; j++) {
              const Pack<TQ> y = pack<TQ>(weights + (i + j) * O0);
#pragma unroll
              for (int q = 0; q < TQ; q++) {
                sums[0][q] = fma(a.at[j], y.at[q], sums[0][q]);
                sums[1][q] = fma(b.at[j], y.at[q], sums[1][q]);
              }
            }
          }
        },
        [&](int tile, int r, int q, REAL sum) {
          const int e = tile / ACROSS * 2 + r, o = tile % ACROSS * TQ + q;
          if (e < B) write_to(memory, e / EXAMPLES, Z + (rank * EXAMPLES + e % EXAMPLES) * O0 + o, sum);
        });
    meet();

    // 2. This block's examples.
    if (step + 1 < steps) ask(step + 1);
    for (int turn = 0; turn < TURNS; turn++) {
      const int e = of_warp + turn * WARPS;
      if (e >= examples_end) break;  // the whole warp
      int example = __shfl_sync(~0u, now_row, turn % 32);
      int of_class = __shfl_sync(~0u, now_label, turn % 32);
      if (turn >= 32) {  // no lane has asked for it
        example = rows[((long)step * gridDim.y + w) * B + e];
        if (labels) of_class = labels[example];
      }
      forward<0>(memory, e, e - rank * EXAMPLES, lane);
      const Target target = labels ? Target{nullptr, of_class, Last::O} : Target{targets + (long)example * Last::O, 0, Last::O};
      REAL* d = memory + D + Last::deltas + e * Last::delta_line;
      lost += forward_head(d, d, target, Last::O, OUTPUT, LOSS, threshold, lane);
      backward_head(d, target, Last::O, OUTPUT, LOSS, threshold, (REAL)1 / B, lane);
      for (int o = lane; o < Last::O; o += 32) write_all(memory, D + Last::deltas + e * Last::delta_line + o, d[o]);
      __syncwarp();
      back<L - 1>(memory, e, lane);
    }
    meet();

    // 3. Tiles of four inputs of the first layer's gradient; then this block's share of the other parameters.
    constexpr int TILES = INPUTS / 4 * ACROSS, TILE_LANES = lanes_each(TILES, B), SHARE_LANES = lanes_each(SHARE, B);
    sum_tiles<TILES, TILE_LANES, 4, TQ>(
        [&](int tile, int from, REAL (&sums)[4][TQ]) {
          const REAL *x = memory + X + tile / ACROSS * 4, *d = memory + D + tile % ACROSS * TQ;
#pragma unroll 4
          for (int b = from; b < B; b += TILE_LANES) {
            const Pack<4> a = pack<4>(x + b * LINE);
            const Pack<TQ> y = pack<TQ>(d + b * O0);
#pragma unroll
            for (int r = 0; r < 4; r++)
#pragma unroll
              for (int q = 0; q < TQ; q++) sums[r][q] = fma(a.at[r], y.at[q], sums[r][q]);
          }
        },
        [&](int tile, int r, int q, REAL sum) {
          const int i = tile / ACROSS * 4 + r, k = i * O0 + tile % ACROSS * TQ + q;
          if (i < mine) memory[WEIGHTS + k] = updated(memory[WEIGHTS + k], sum, memory + STATE + k, OWN, f);
        });
    sum_tiles<SHARE, SHARE_LANES, 1, 1>(
        [&](int k, int from, REAL (&sums)[1][1]) {
          const Parameter p = parameter(min(rank * SHARE + k, REST - 1));
#pragma unroll 4
          for (int b = from; b < B; b += SHARE_LANES) sums[0][0] = fma(memory[p.a + b * p.a_step], memory[p.d + b * p.d_step], sums[0][0]);
        },
        [&](int k, int, int, REAL sum) {
          if (rank * SHARE + k >= REST) return;
          const int at = parameter(rank * SHARE + k).at;
          write_all(memory, at, updated(memory[at], sum, memory + OTHER_STATE + k, SHARE, f));
        });
    __syncthreads();  // the inputs have been read
    if (step + 1 < steps) take(step + 1);
    __syncthreads();
  }

  lost = warp_sum(lost);
  if (lane == 0 && of_warp < examples_end) losses[(long)w * B + of_warp] += lost;
  for (int row = 0; row <= ROWS; row++) {
    REAL* to = row ? moment + (row - 1) * P : vector;
    each_row([&](int at, long k) { to[k] = memory[at]; }, row, rank, mine);
  }
  meet();  // others may still write to this block's memory
}
