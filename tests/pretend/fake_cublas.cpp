// What psgd calls of cuBLAS, on the memory of the host. With -DHEADER the prototypes are those of NVIDIA's header, and
// this file compiles only if ours agree with them. Misuse that the real library lets pass is refused: products with
// scalars on the host, or without a workspace that was set after the stream.
#ifdef HEADER
#include <cublas_v2.h>
#else
typedef int cublasStatus_t, cublasOperation_t, cudaDataType, cublasComputeType_t, cublasGemmAlgo_t, cublasPointerMode_t;
typedef void *cublasHandle_t, *cudaStream_t;
#endif
#include <stdint.h>
#include <string.h>
#include <vector>
#define API(name) extern "C" __attribute__((visibility("default"))) cublasStatus_t name

namespace {
const int OK = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7, NOT_SUPPORTED = 15;
const int FLOAT = 0, DOUBLE = 1, COMPUTE_FLOAT = 68, COMPUTE_DOUBLE = 70, COMPUTE_TF32 = 77, DEFAULT_ALGORITHM = -1;
struct State { bool stream = false, workspace = false, pointers_on_device = false; };
struct Side { const void* at; int type, ld; long long stride; };
cublasStatus_t status(int code) { return (cublasStatus_t)code; }

float rounded(float x) {  // to TF32: 10 bits of the mantissa, nearest even
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if ((bits & 0x7f800000) != 0x7f800000) bits = (bits + 0xfff + (bits >> 13 & 1)) & ~0x1fffu;
  memcpy(&x, &bits, 4);
  return x;
}
double rounded(double x) { return x; }

// C (m, n) <- alpha A B + beta C by columns. beta 0: C is not read.
template <class T> void product(bool turn_a, bool turn_b, int m, int n, int k, T alpha, const T* A, int lda, const T* B, int ldb, T beta, T* C, int ldc, bool tf32) {
  std::vector<T> a((size_t)m * k), sum(m);
  for (int l = 0; l < k; l++)
    for (int i = 0; i < m; i++) {
      T x = turn_a ? A[(size_t)i * lda + l] : A[(size_t)l * lda + i];
      a[(size_t)l * m + i] = tf32 ? rounded(x) : x;
    }
  for (int j = 0; j < n; j++) {
    sum.assign(m, 0);
    for (int l = 0; l < k; l++) {
      T x = turn_b ? B[(size_t)l * ldb + j] : B[(size_t)j * ldb + l];
      if (tf32) x = rounded(x);
      const T* column = &a[(size_t)l * m];
      for (int i = 0; i < m; i++) sum[i] += column[i] * x;
    }
    T* c = C + (size_t)j * ldc;
    for (int i = 0; i < m; i++) c[i] = beta == 0 ? alpha * sum[i] : alpha * sum[i] + beta * c[i];
  }
}
template <class T> void products(bool turn_a, bool turn_b, int m, int n, int k, const void* alpha, Side A, Side B, const void* beta, Side C, int count, bool tf32) {
  for (int w = 0; w < count; w++)
    product<T>(turn_a, turn_b, m, n, k, *(const T*)alpha, (const T*)A.at + w * A.stride, A.ld, (const T*)B.at + w * B.stride, B.ld,
               *(const T*)beta, (T*)C.at + w * C.stride, C.ld, tf32);
}
cublasStatus_t gemm(cublasHandle_t handle, int turn_a, int turn_b, int m, int n, int k, const void* alpha, Side A, Side B, const void* beta, Side C, int count, int compute, int algorithm) {
  if (!handle) return status(NOT_INITIALIZED);
  const State& state = *(const State*)handle;
  if (!state.workspace || !state.pointers_on_device || !alpha || !beta || !A.at || !B.at || !C.at) return status(INVALID_VALUE);
  if (turn_a < 0 || turn_a > 1 || turn_b < 0 || turn_b > 1 || m < 1 || n < 1 || k < 1 || count < 1) return status(INVALID_VALUE);
  if (A.ld < (turn_a ? k : m) || B.ld < (turn_b ? n : k) || C.ld < m) return status(INVALID_VALUE);
  if (count > 1 && C.stride < (long long)C.ld * (n - 1) + m) return status(INVALID_VALUE);  // workers would share results
  if (A.type != B.type || B.type != C.type || algorithm != DEFAULT_ALGORITHM) return status(NOT_SUPPORTED);
  if (A.type == FLOAT && (compute == COMPUTE_FLOAT || compute == COMPUTE_TF32))
    products<float>(turn_a, turn_b, m, n, k, alpha, A, B, beta, C, count, compute == COMPUTE_TF32);
  else if (A.type == DOUBLE && compute == COMPUTE_DOUBLE)
    products<double>(turn_a, turn_b, m, n, k, alpha, A, B, beta, C, count, false);
  else
    return status(NOT_SUPPORTED);
  return status(OK);
}
}  // namespace

API(cublasCreate_v2)(cublasHandle_t* handle) {
  *handle = (cublasHandle_t) new State;
  return status(OK);
}
API(cublasSetStream_v2)(cublasHandle_t handle, cudaStream_t) {
  *(State*)handle = {true, false, ((State*)handle)->pointers_on_device};  // the workspace is forgotten
  return status(OK);
}
API(cublasSetWorkspace_v2)(cublasHandle_t handle, void* workspace, size_t size) {
  State& state = *(State*)handle;
  if (!state.stream || !workspace || (uintptr_t)workspace % 256 || !size) return status(INVALID_VALUE);
  state.workspace = true;
  return status(OK);
}
API(cublasSetPointerMode_v2)(cublasHandle_t handle, cublasPointerMode_t mode) {
  if ((int)mode != 0 && (int)mode != 1) return status(INVALID_VALUE);
  ((State*)handle)->pointers_on_device = (int)mode == 1;
  return status(OK);
}
API(cublasGemmEx)(cublasHandle_t handle, cublasOperation_t turn_a, cublasOperation_t turn_b, int m, int n, int k, const void* alpha,
                  const void* A, cudaDataType typeA, int lda, const void* B, cudaDataType typeB, int ldb, const void* beta,
                  void* C, cudaDataType typeC, int ldc, cublasComputeType_t compute, cublasGemmAlgo_t algorithm) {
  return gemm(handle, (int)turn_a, (int)turn_b, m, n, k, alpha, {A, (int)typeA, lda, 0}, {B, (int)typeB, ldb, 0}, beta, {C, (int)typeC, ldc, 0}, 1,
              (int)compute, (int)algorithm);
}
API(cublasGemmStridedBatchedEx)(cublasHandle_t handle, cublasOperation_t turn_a, cublasOperation_t turn_b, int m, int n, int k, const void* alpha,
                                const void* A, cudaDataType typeA, int lda, long long strideA, const void* B, cudaDataType typeB, int ldb, long long strideB,
                                const void* beta, void* C, cudaDataType typeC, int ldc, long long strideC, int count, cublasComputeType_t compute,
                                cublasGemmAlgo_t algorithm) {
  return gemm(handle, (int)turn_a, (int)turn_b, m, n, k, alpha, {A, (int)typeA, lda, strideA}, {B, (int)typeB, ldb, strideB}, beta, {C, (int)typeC, ldc, strideC},
              count, (int)compute, (int)algorithm);
}
