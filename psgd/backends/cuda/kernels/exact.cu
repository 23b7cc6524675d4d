// Kernels whose results are those of numpy, bit for bit: only + - * / and the square root, each rounded by itself
// (compiled with --fmad=false), in the order of backends/numpy.

// Rows of inputs (N, F) times `scale` -> the first F columns of X (W, B, line), line a multiple of 4; zeros for a worker
// that takes no step. Grid (B, W).
KERNEL gather(const INPUT* inputs, const int* rows, const int* step, const int* limits, int B, int F, int line, REAL scale, REAL* X) {
  const int b = blockIdx.x, w = blockIdx.y, active = *step < limits[w];
  REAL* x = X + ((long)w * B + b) * line;
  const INPUT* input = inputs + (active ? (long)step_inputs(rows, step, B)[b] * F : 0);
  if (F % 4 == 0 && active) {
    for (int f = 4 * threadIdx.x; f < F; f += 4 * blockDim.x) place(x + f, *(const Four<INPUT>*)(input + f), scale);
    return;
  }
  for (int f = threadIdx.x; f < F; f += blockDim.x) x[f] = active ? (REAL)input[f] * scale : (REAL)0;
}

// dL/dA in D (W, B, lined) -> dL/dZ, in place, for O outputs with activations A (W, B, line). Both lines are multiples
// of 4.
KERNEL deltas(REAL* D, const REAL* A, int kind, int B, int O, int lined, int line) {
  D += (long)blockIdx.y * B * lined;
  A += (long)blockIdx.y * B * line;
  each_four(B, O, [&](int b, int o, int count) {
    REAL* d = D + (long)b * lined + o;
    const Pack<4> a = pack<4>(A + (long)b * line + o);
    Pack<4> values = pack<4>(d);
#pragma unroll
    for (int j = 0; j < 4; j++)
      if (j < count) values.at[j] = delta(kind, a.at[j], values.at[j]);
    *(Pack<4>*)d = values;
  });
}

// The penalties' gradient: g += l2 p, then g += l1 sign(p), where p is a weight, which says `spans` (layers, 2): index
// of the first and behind the last. gs and ps: elements from worker to worker, as below.
KERNEL regularize(REAL* g, long gs, const REAL* p, long ps, REAL l1, REAL l2, const long* spans, int layers, long P) {
  g += blockIdx.y * gs;
  p += blockIdx.y * ps;
  for (long i = first(); i < P; i += stride())
    for (int layer = 0; layer < layers; layer++)
      if (spans[2 * layer] <= i && i < spans[2 * layer + 1]) {
        REAL x = g[i];
        const REAL y = p[i];
        if (l2 != 0) x = x + l2 * y;
        if (l1 != 0) x = x + l1 * (y > 0 ? (REAL)1 : y < 0 ? (REAL)-1 : y == 0 ? (REAL)0 : y);  // of nan, nan
        g[i] = x;
      }
}

// The rules of backends/numpy/updates.py. Worker w's parameters are at p + w ps, its gradient, which is multiplied by
// clip[w], at g + w gs, row r of its moments at m + w ms + r P. `factors` (S, W, 4): those of optimizers/rules.py. All is
// read before anything is written: behind a write, a compiler that must expect the same memory would wait once more.
KERNEL sgd(REAL* p, long ps, const REAL* g, long gs, REAL* m, long ms, const REAL* factors, const int* step, const int* limits, const REAL* clip, long P) {
  const int w = blockIdx.y;
  if (*step >= limits[w]) return;
  const REAL *f = step_inputs(factors, step, 4), rate = f[0], clipped = clip[w];
  p += w * ps;
  g += w * gs;
  for (long i = first(); i < P; i += stride()) p[i] = p[i] - g[i] * clipped * rate;
}

KERNEL momentum(REAL* p, long ps, const REAL* g, long gs, REAL* m, long ms, const REAL* factors, const int* step, const int* limits, const REAL* clip, long P) {
  const int w = blockIdx.y;
  if (*step >= limits[w]) return;
  const REAL *f = step_inputs(factors, step, 4), mass = f[0], rate = f[1], clipped = clip[w];
  p += w * ps;
  g += w * gs;
  m += w * ms;
  for (long i = first(); i < P; i += stride()) {
    const REAL old = p[i], v = m[i] * mass + g[i] * clipped;
    m[i] = v;
    p[i] = old - v * rate;
  }
}

KERNEL nesterov(REAL* p, long ps, const REAL* g, long gs, REAL* m, long ms, const REAL* factors, const int* step, const int* limits, const REAL* clip, long P) {
  const int w = blockIdx.y;
  if (*step >= limits[w]) return;
  const REAL *f = step_inputs(factors, step, 4), mass = f[0], rate = f[1], mass_rate = f[2], clipped = clip[w];
  p += w * ps;
  g += w * gs;
  m += w * ms;
  for (long i = first(); i < P; i += stride()) {
    const REAL old = p[i], x = g[i] * clipped, v = m[i] * mass + x;
    m[i] = v;
    p[i] = old - x * rate - v * mass_rate;
  }
}

KERNEL adam(REAL* p, long ps, const REAL* g, long gs, REAL* m, long ms, const REAL* factors, const int* step, const int* limits, const REAL* clip, long P) {
  const int w = blockIdx.y;
  if (*step >= limits[w]) return;
  const REAL *f = step_inputs(factors, step, 4), beta1 = f[0], beta2 = f[1], epsilon = f[2], rate = f[3], clipped = clip[w];
  p += w * ps;
  g += w * gs;
  m += w * ms;
  for (long i = first(); i < P; i += stride()) {
    const REAL old = p[i], x = g[i] * clipped, mean = m[i] * beta1 + x, v = m[P + i] * beta2 + x * x;
    m[i] = mean;
    m[P + i] = v;
    p[i] = old - mean / (sqrt(v) + epsilon) * rate;
  }
}

KERNEL amsgrad(REAL* p, long ps, const REAL* g, long gs, REAL* m, long ms, const REAL* factors, const int* step, const int* limits, const REAL* clip, long P) {
  const int w = blockIdx.y;
  if (*step >= limits[w]) return;
  const REAL *f = step_inputs(factors, step, 4), beta1 = f[0], beta2 = f[1], epsilon = f[2], rate = f[3], clipped = clip[w];
  p += w * ps;
  g += w * gs;
  m += w * ms;
  for (long i = first(); i < P; i += stride()) {
    const REAL old = p[i], x = g[i] * clipped, mean = m[i] * beta1 + x, v = m[P + i] * beta2 + x * x;
    REAL largest = m[2 * P + i];
    if (!(largest >= v || largest != largest)) largest = v;  // as np.maximum, which keeps nan
    m[i] = mean;
    m[P + i] = v;
    m[2 * P + i] = largest;
    p[i] = old - mean / (sqrt(largest) + epsilon) * rate;
  }
}

// A round of local steps begins: the CP elements of the replica -> contributions (W, CP) of the workers with fresh[w].
KERNEL start_round(const REAL* __restrict__ replica, REAL* __restrict__ contributions, const int* fresh, long CP) {
  if (!fresh[blockIdx.y]) return;
  contributions += blockIdx.y * CP;
  for (long i = first(); i < CP; i += stride()) contributions[i] = replica[i];
}

// first[w] becomes the least i % P, if less than it was, of the numbers v[w vs + i], i < n, that are not finite; or, if
// `squares`, whose squares are not. Only for workers with wanted[w].
KERNEL finite(const REAL* v, long vs, long n, long P, int squares, const int* wanted, int* first_bad) {
  const int w = blockIdx.y;
  if (!wanted[w]) return;
  v += w * vs;
  for (long i = first(); i < n; i += 4 * stride()) {
    REAL x[4];  // asked for at once: a thread that waits for each would use a third of the memory's rate
#pragma unroll
    for (int k = 0; k < 4; k++) x[k] = i + k * stride() < n ? v[i + k * stride()] : (REAL)0;
#pragma unroll
    for (int k = 0; k < 4; k++) {
      if (squares) x[k] *= x[k];
      if (x[k] - x[k] != 0) atomicMin(first_bad + w, (int)((i + k * stride()) % P));
    }
  }
}

KERNEL fill(int* at, int value, int n) {
  for (long i = first(); i < n; i += stride()) at[i] = value;
}

// A (rows, line), n elements: behind the F inputs of each row a 1 and zeros.
KERNEL pad(REAL* A, int F, int line, long n) {
  for (long i = first(); i < n; i += stride())
    if (const int column = (int)(i % line); column >= F) A[i] = column == F;
}

KERNEL fill_real(REAL* at, REAL value, long n) {
  for (long i = first(); i < n; i += stride()) at[i] = value;
}

// The end of a step. One thread.
KERNEL tick(int* step) { *step += 1; }
