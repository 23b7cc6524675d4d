// A small network in the shared memory of a cluster of blocks: what is where. Stands before resident.cu.
//
// Defined: SIZES of the layers, from the inputs on; BATCH, examples of a step; CLUSTER, blocks of a worker; THREADS of a
// block; HIDDEN, OUTPUT, LOSS, RULE by number; SHARED_REALS, which the launch gives.

#if CLUSTER == 1  // GPUs before sm_90 have no clusters
#undef __cluster_dims__
#define __cluster_dims__(...)
#endif

enum Rule { SGD, MOMENTUM, NESTEROV, ADAM, AMSGRAD };

__device__ constexpr int size(int layer) {
  const int sizes[] = {SIZES};
  return sizes[layer];
}
__device__ constexpr int layers() {
  const int sizes[] = {SIZES};
  return sizeof sizes / sizeof(int) - 1;
}
__device__ constexpr int whole(int n) { return up(n, 4) * 4; }  // so that rows can be read in fours
__device__ constexpr int at_most(int a, int b) { return a < b ? a : b; }
// Lanes that share the terms of a sum: as many as there are threads for `sums` at a time, at most one for each term.
__device__ constexpr int lanes_each(int sums, int terms) {
  int lanes = 1;
  while (lanes < 32 && 2 * lanes * sums <= THREADS && 2 * lanes <= terms) lanes *= 2;
  return lanes;
}

constexpr int L = layers(), F = size(0), O0 = size(1), B = BATCH, WARPS = THREADS / 32;
constexpr int ROWS = RULE == SGD ? 0 : RULE == ADAM ? 2 : RULE == AMSGRAD ? 3 : 1;  // vectors of the optimizer
constexpr int INPUTS = whole(up(F, CLUSTER)), EXAMPLES = up(B, CLUSTER);            // of a block, at most
constexpr int OWN = INPUTS * O0;                       // weights of the first layer in a block
constexpr int LINE = (INPUTS / 4 | 1) * 4;             // of an example's inputs: odd in fours, so that no banks conflict
constexpr int TURNS = up(EXAMPLES, WARPS);             // examples that a warp takes one after the other

// Of layer l, and where its arrays begin. `rest` has the biases of layer 0, then weights and biases of the others; rows
// of odd length have their columns in different banks.
template <int l> struct Layer {
  static constexpr int I = size(l), O = size(l + 1), line = O | 1, delta_line = l ? line : O;
  static constexpr int parameters = l ? (I + 1) * O : O;  // those in `rest`
  static constexpr int rest = Layer<l - 1>::rest_end, rest_end = rest + (l ? (I + 1) * line : O);
  static constexpr int activations = Layer<l - 1>::activations_end, activations_end = activations + (l < L - 1 ? B * line : 0);
  static constexpr int deltas = Layer<l - 1>::deltas_end, deltas_end = deltas + whole(B * delta_line);
  static constexpr int counted = Layer<l - 1>::counted + parameters;  // parameters in `rest` up to this layer
};
template <> struct Layer<-1> { static constexpr int rest_end = 0, activations_end = 0, deltas_end = 0, counted = 0; };
using Last = Layer<L - 1>;

constexpr int REST = Last::counted, SHARE = up(REST, CLUSTER);  // parameters in `rest`; those that a block updates
constexpr long SKIPPED = (long)F * O0, P = SKIPPED + REST;      // `rest` follows the first layer's weights in a vector

// Where the arrays begin in shared memory, in REALs.
constexpr int WEIGHTS = 0;                                     // (INPUTS, O0)
constexpr int STATE = WEIGHTS + OWN;                           // (ROWS, INPUTS, O0), the optimizer's
constexpr int OTHERS = STATE + ROWS * OWN;                     // `rest`
constexpr int OTHER_STATE = OTHERS + whole(Last::rest_end);    // (ROWS, SHARE)
constexpr int X = OTHER_STATE + whole(ROWS * SHARE);           // (B, LINE), inputs
constexpr int Z = X + B * LINE;                                // (CLUSTER, EXAMPLES, O0), sums of the blocks
constexpr int A = Z + whole(CLUSTER * EXAMPLES * O0);          // activations of all layers but the last
constexpr int D = A + whole(Last::activations_end);            // deltas of all layers, the last one's logits before
constexpr int ONE = D + Last::deltas_end;                      // the number 1
static_assert(ONE + 4 == SHARED_REALS, "resident.py counts the shared memory differently");

__device__ inline void meet() {
#if CLUSTER > 1
  __syncwarp();  // the cluster's barrier takes warps as a whole
  cluster_sync();
#else
  __syncthreads();
#endif
}
// The same number, of which the compiler does not know that: what follows from it is computed in each step anew and does
// not take registers from step to step.
__device__ inline int anew(int number) {
#ifndef CUDA_ON_CPU
  asm volatile("" : "+r"(number));
#endif
  return number;
}

// Writes memory[at] of block `rank` of this cluster.
__device__ inline void write_to(REAL* memory, unsigned rank, int at, REAL value) {
#if CLUSTER == 1
  memory[at] = value;
#elif defined CUDA_ON_CPU
  cluster_map(memory, rank)[at] = value;
#else  // by addresses of 32 bits, of which a thread keeps one a block
  unsigned there;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"((unsigned)__cvta_generic_to_shared(memory)), "r"(rank));
  there += at * (unsigned)sizeof(REAL);
  if constexpr (sizeof(REAL) == 4) asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(there), "f"((float)value) : "memory");
  else asm volatile("st.shared::cluster.f64 [%0], %1;" ::"r"(there), "d"((double)value) : "memory");
#endif
}
__device__ inline void write_all(REAL* memory, int at, REAL value) {
  memory[at] = value;
#pragma unroll
  for (unsigned r = 1; r < CLUSTER; r++) write_to(memory, (blockIdx.x + r) % CLUSTER, at, value);
}
