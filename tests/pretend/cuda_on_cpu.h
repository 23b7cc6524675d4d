// Runs kernels in CUDA C on the CPU, for tests. Every thread of a block (of a cluster of blocks) is a fiber, which runs
// until it meets a barrier; which of them goes first is drawn from `order` (0: in order, 1: reversed, else: shuffled
// anew each time). Results that differ between orders lack a barrier. Kernels without barriers, shuffles and shared
// memory need no fibers. Fences and weak memory do not exist here: compute-sanitizer on a GPU looks for those.
#pragma once
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <algorithm>
#include <utility>
#include <vector>
#if !defined(__x86_64__) || defined(__SANITIZE_ADDRESS__)
#define UCONTEXT  // swapcontext calls the system twice, but AddressSanitizer follows it
#include <ucontext.h>
#endif
#define __global__
#define __device__
#define __host__
#define __constant__
#define __restrict__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __align__(bytes) alignas(bytes)
struct dim3 { unsigned x = 1, y = 1, z = 1; };
struct alignas(4) uchar4 { unsigned char x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) double2 { double x, y; };
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }

namespace cpu {
struct Fiber {
  dim3 thread, block;
  unsigned linear = 0, shuffles = 0;  // the thread's number in its block; how many shuffles it has done
  char* shared = nullptr;             // its block's memory
  int waits = -1;                     // the barrier that it waits at
  bool done = false;
#ifdef UCONTEXT
  ucontext_t context;
#else
  void* stack = nullptr;  // its top, when the fiber does not run
#endif
};
struct Barrier { unsigned arrived = 0, size = 0; };
inline Fiber* now;
inline dim3 block_dim, grid_dim;
inline unsigned cluster = 1;
inline std::vector<Fiber> fibers;
inline std::vector<Barrier> barriers;     // one a block, one a warp, the cluster's
inline std::vector<double> exchange[2];   // for shuffles, one place a thread: the next shuffle uses the other vector
inline void (*body)(void*);
inline void* body_argument;
constexpr size_t STACK = 1 << 16;

inline char* stack_of(unsigned number) {  // kept from launch to launch
  static std::vector<char*> stacks;
  while (stacks.size() <= number) stacks.push_back((char*)malloc(STACK));
  return stacks[number];
}
#ifdef UCONTEXT
inline ucontext_t scheduler;
inline void leave() { swapcontext(&now->context, &scheduler); }
inline void enter(Fiber& fiber) { now = &fiber; swapcontext(&scheduler, &fiber.context); }
inline void begin() { body(body_argument); now->done = true; leave(); }
inline void prepare(Fiber& fiber, char* stack) {
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = stack;
  fiber.context.uc_stack.ss_size = STACK;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, begin, 0);
}
#else
inline void* scheduler;
extern "C" void cpu_switch(void** from, void* to);  // keeps the registers that a function must keep, and changes stacks
asm(".text\n.local cpu_switch\n.type cpu_switch, @function\ncpu_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n");
inline void leave() { cpu_switch(&now->stack, scheduler); }
inline void enter(Fiber& fiber) { now = &fiber; cpu_switch(&scheduler, fiber.stack); }
inline void begin() { body(body_argument); now->done = true; leave(); }
inline void prepare(Fiber& fiber, char* stack) {
  void** top = (void**)(((uintptr_t)stack + STACK) & ~(uintptr_t)63);
  *--top = nullptr;         // where `begin` would return to; its stack is aligned as after a call
  *--top = (void*)begin;
  for (int i = 0; i < 6; i++) *--top = nullptr;
  fiber.stack = top;
}
#endif
inline void wait(int which) {
  Barrier& barrier = barriers[which];
  if (++barrier.arrived < barrier.size) {
    now->waits = which;
    return leave();
  }
  barrier.arrived = 0;
  for (Fiber& fiber : fibers)
    if (fiber.waits == which) fiber.waits = -1;
}
inline unsigned threads() { return block_dim.x * block_dim.y * block_dim.z; }
inline unsigned warps() { return (threads() + 31) / 32; }
inline int block_barrier() { return now->block.x % cluster; }
inline int warp_barrier() { return cluster + block_barrier() * warps() + now->linear / 32; }
inline unsigned lanes() { return std::min(32u, threads() - now->linear / 32 * 32); }  // of this warp
}  // namespace cpu

using std::max;
using std::min;
#define threadIdx (cpu::now->thread)
#define blockIdx (cpu::now->block)
#define blockDim (cpu::block_dim)
#define gridDim (cpu::grid_dim)
#define SHARED(type, name) type* name = (type*)cpu::now->shared
inline void __syncthreads() { cpu::wait(cpu::block_barrier()); }
inline void __syncwarp(unsigned = ~0u) { cpu::wait(cpu::warp_barrier()); }
inline void __threadfence() {}
inline void cluster_sync() { cpu::wait((int)cpu::barriers.size() - 1); }
inline unsigned cluster_rank() { return blockIdx.x % cpu::cluster; }
template <class T> T* cluster_map(T* at, unsigned rank) {  // the same place in another block's shared memory
  return (T*)((char*)at - cpu::now->shared + cpu::fibers[rank * cpu::threads()].shared);
}
template <class T> T cpu_shuffle(T value, unsigned lane) {
  static_assert(sizeof value <= sizeof(double));
  const unsigned me = cpu::now - cpu::fibers.data(), first = me - cpu::now->linear % 32;
  double* places = cpu::exchange[cpu::now->shuffles++ % 2].data();
  memcpy(&places[me], &value, sizeof value);
  const unsigned lanes = cpu::lanes();
  __syncwarp();
  if (lane >= lanes) return value;
  T got;
  memcpy(&got, &places[first + lane], sizeof got);
  return got;
}
template <class T> T __shfl_xor_sync(unsigned, T value, int mask) { return cpu_shuffle(value, (cpu::now->linear % 32) ^ mask); }
template <class T> T __shfl_down_sync(unsigned, T value, unsigned by) { return cpu_shuffle(value, cpu::now->linear % 32 + by); }
template <class T> T __shfl_sync(unsigned, T value, int lane) { return cpu_shuffle(value, lane % 32); }
template <class T> T atomicAdd(T* at, T value) { T old = *at; *at += value; return old; }
template <class T> T atomicMin(T* at, T value) { T old = *at; *at = min(old, value); return old; }
template <class T> T atomicMax(T* at, T value) { T old = *at; *at = max(old, value); return old; }
template <class T> T __ldg(const T* at) { return *at; }

namespace cpu {
struct Shape { unsigned grid[3], block[3], shared, order; };  // as emulate.py fills it
inline char message[200];

// Numbers at random (xorshift, Marsaglia 2003): g++ takes a quarter of a second to read the standard library's.
struct Draw {
  using result_type = uint32_t;
  uint32_t state;
  static constexpr uint32_t min() { return 1; }
  static constexpr uint32_t max() { return UINT32_MAX; }
  uint32_t operator()() {
    state ^= state << 13, state ^= state >> 17, state ^= state << 5;
    return state;
  }
};
inline void arrange(std::vector<unsigned>& turn, unsigned order, Draw& draw) {
  if (order > 1) std::shuffle(turn.begin(), turn.end(), draw);
}
inline std::vector<unsigned> numbers(unsigned count, unsigned order) {
  std::vector<unsigned> turn(count);
  for (unsigned i = 0; i < count; i++) turn[i] = order == 1 ? count - 1 - i : i;
  return turn;
}
inline void place(Fiber& fiber, unsigned thread, unsigned block) {
  fiber.linear = thread;
  fiber.thread = {thread % block_dim.x, thread / block_dim.x % block_dim.y, thread / block_dim.x / block_dim.y};
  fiber.block = {block % grid_dim.x, block / grid_dim.x % grid_dim.y, block / grid_dim.x / grid_dim.y};
}
// Runs one block's (one cluster's) fibers to their end; says what is wrong if they wait for one another for ever.
inline const char* run(unsigned first, unsigned shared, unsigned order, Draw& draw, const char* name) {
  const unsigned count = threads() * cluster;
  static std::vector<std::vector<char>> memory;
  memory.resize(cluster);
  for (auto& each : memory) each.assign(shared + 64, (char)0xA5);  // not zeros: memory that nobody wrote shows
  barriers.assign(cluster + cluster * warps() + 1, {});
  for (unsigned b = 0; b < cluster; b++) {
    barriers[b].size = threads();
    for (unsigned w = 0; w < warps(); w++) barriers[cluster + b * warps() + w].size = std::min(32u, threads() - 32 * w);
  }
  barriers.back().size = count;
  fibers.resize(count);
  for (auto& each : exchange) each.assign(count, 0);
  for (unsigned i = 0; i < count; i++) {
    Fiber& fiber = fibers[i];
    fiber.waits = -1, fiber.done = false, fiber.shuffles = 0;
    place(fiber, i % threads(), first + i / threads());
    fiber.shared = (char*)(((uintptr_t)memory[i / threads()].data() + 63) & ~(uintptr_t)63);
    prepare(fiber, stack_of(i));
  }
  std::vector<unsigned> turn = numbers(count, order);
  for (unsigned left = count; left;) {
    arrange(turn, order, draw);
    unsigned ran = 0;
    for (unsigned i : turn) {
      if (fibers[i].done || fibers[i].waits >= 0) continue;
      ran++;
      enter(fibers[i]);
      left -= fibers[i].done;
    }
    if (ran) continue;
    snprintf(message, sizeof message, "%s: %u of %u threads wait at a barrier that the others never reach", name, left, count);
    return message;
  }
  return nullptr;
}
template <class... A, size_t... I>
const char* launch(void (*kernel)(A...), const char* name, bool by_fibers, unsigned clusters, const Shape& shape, void** arguments, std::index_sequence<I...>) {
  auto call = [&] { kernel(*(std::remove_cv_t<std::remove_reference_t<A>>*)arguments[I]...); };
  grid_dim = {shape.grid[0], shape.grid[1], shape.grid[2]};
  block_dim = {shape.block[0], shape.block[1], shape.block[2]};
  cluster = clusters;
  if (grid_dim.x % cluster) return "the grid is no multiple of the cluster";
  body = [](void* argument) { (*(decltype(call)*)argument)(); };
  body_argument = &call;
  Draw draw{shape.order * 2654435761u + 1};
  std::vector<unsigned> blocks = numbers(grid_dim.x * grid_dim.y * grid_dim.z / cluster, shape.order);
  arrange(blocks, shape.order, draw);
  std::vector<unsigned> turn = numbers(threads(), shape.order);
  Fiber alone;
  for (unsigned block : blocks) {
    if (by_fibers) {
      if (const char* wrong = run(block * cluster, shape.shared, shape.order, draw, name)) return wrong;
      continue;
    }
    arrange(turn, shape.order, draw);
    now = &alone;
    for (unsigned thread : turn) place(alone, thread, block), call();
  }
  return nullptr;
}
template <class... A>
const char* launch(void (*kernel)(A...), const char* name, bool by_fibers, unsigned clusters, const Shape* shape, void** arguments) {
  return launch(kernel, name, by_fibers, clusters, *shape, arguments, std::index_sequence_for<A...>{});
}
}  // namespace cpu
#define CPU_EXPORT(name, by_fibers, clusters)                                                                   \
  extern "C" __attribute__((visibility("default"))) const char* cpu_##name(const cpu::Shape* shape, void** arguments) { \
    return cpu::launch(kernel_##name, #name, by_fibers, clusters, shape, arguments);                                     \
  }
