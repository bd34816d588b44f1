"""Runs the CUDA source of a matrix product on the CPU: a thread for each thread, a barrier for each barrier.

Under GCC's thread sanitizer this proves what comes last, barriers, virtual threads, pipelines and the calls of tensor
cores: a barrier too few is a data race. What a warp does together its first lane does, on fragments that are plain
tiles; pointers and steps are held to what the hardware asks of them. The kernel must take A, B and C, whose values are
small whole numbers, so that any order of adding them up gives the same.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from pathlib import Path

HEADER = """
#include <algorithm>
#include <barrier>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>
using std::max, std::min;
typedef unsigned char uchar;
struct Index { int x = 0, y = 0, z = 0; };
thread_local Index blockIdx, threadIdx;
struct half {
  _Float16 value;
  half(float given = 0) : value((_Float16)given) {}
  operator float() const { return (float)value; }
};
struct nv_bfloat16 {
  uint16_t bits;
  nv_bfloat16(float given = 0) { uint32_t all; memcpy(&all, &given, 4); bits = all >> 16; }
  operator float() const { uint32_t all = (uint32_t)bits << 16; float found; memcpy(&found, &all, 4); return found; }
};
template <class T> struct alignas(4 * sizeof(T)) Four { T x, y, z, w; };
template <class T> struct alignas(2 * sizeof(T)) Two { T x, y; };
#define VECTORS(type, name) \\
  typedef Four<type> name##4; \\
  typedef Two<type> name##2; \\
  name##4 make_##name##4(type a, type b, type c, type d) { return {a, b, c, d}; } \\
  name##2 make_##name##2(type a, type b) { return {a, b}; }
VECTORS(float, float) VECTORS(int, int) VECTORS(signed char, char) VECTORS(half, half)
VECTORS(nv_bfloat16, nv_bfloat16)
half __float2half_rn(float given) { return half(given); }
nv_bfloat16 __float2bfloat16_rn(float given) { return nv_bfloat16(given); }
std::barrier<>* together;
void __syncthreads() { together->arrive_and_wait(); }
template <class T> T* aligned(std::vector<T>& memory) {
  return (T*)(((uintptr_t)memory.data() + 63) & ~(uintptr_t)63);
}
namespace nvcuda { namespace wmma {
enum layout_t { mem_row_major, mem_col_major };
struct matrix_a; struct matrix_b; struct accumulator; struct row_major; struct col_major;
template <class Use, int m, int n, int k, class T, class Layout = void> struct fragment { T tile[16][16]; };
template <class T> void check(const T* memory, int step) {
  if ((uintptr_t)memory % 32 || step * sizeof(T) % 16) { fprintf(stderr, "misaligned tile"); abort(); }
}
template <class Use, class T, class Layout, class Value>
void fill_fragment(fragment<Use, 16, 16, 16, T, Layout>& into, Value value) {
  for (int i = 0; i < 256; ++i) into.tile[i / 16][i % 16] = (T)value;
}
template <class Use, class T>
void load_matrix_sync(fragment<Use, 16, 16, 16, T, row_major>& into, const T* memory, int step) {
  check(memory, step);
  if (threadIdx.x) return;
  for (int i = 0; i < 256; ++i) into.tile[i / 16][i % 16] = memory[i / 16 * step + i % 16];
}
template <class Use, class T>
void load_matrix_sync(fragment<Use, 16, 16, 16, T, col_major>& into, const T* memory, int step) {
  check(memory, step);
  if (threadIdx.x) return;
  for (int i = 0; i < 256; ++i) into.tile[i / 16][i % 16] = memory[i % 16 * step + i / 16];
}
template <class A, class B, class C, class LayoutA, class LayoutB>
void mma_sync(fragment<accumulator, 16, 16, 16, C>& into, fragment<matrix_a, 16, 16, 16, A, LayoutA>& a,
              fragment<matrix_b, 16, 16, 16, B, LayoutB>& b, fragment<accumulator, 16, 16, 16, C>& c) {
  if (threadIdx.x) return;
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) {
      float sum = c.tile[i][j];
      for (int k = 0; k < 16; ++k) sum += (float)a.tile[i][k] * (float)b.tile[k][j];
      into.tile[i][j] = (C)sum;
    }
}
template <class T>
void store_matrix_sync(T* memory, fragment<accumulator, 16, 16, 16, T>& from, int step, layout_t layout) {
  check(memory, step);
  if (threadIdx.x) return;
  for (int i = 0; i < 256; ++i)
    memory[layout == mem_row_major ? i / 16 * step + i % 16 : i % 16 * step + i / 16] = from.tile[i / 16][i % 16];
}
}}
"""

MAIN = """
int main() {
  const int rows = ROWS, columns = COLUMNS, depth = DEPTH;
  std::vector<FACTOR> a(rows * depth + 64), b(columns * depth + 64);
  std::vector<SUM> c(rows * columns + 64, (SUM)77777);
  FACTOR *A = aligned(a), *B = aligned(b);
  SUM* C = aligned(c);
  for (int i = 0; i < rows * depth; ++i) A[i] = (FACTOR)(i * 7 % 5 - 2);
  for (int i = 0; i < columns * depth; ++i) B[i] = (FACTOR)(i * 5 % 7 - 3);
  for (int block = 0; block < GRIDX * GRIDY; ++block) {
    std::barrier<> all(LANES * WARPS);
    together = &all;
    std::vector<std::thread> threads;
    for (int number = 0; number < LANES * WARPS; ++number)
      threads.emplace_back([=] {
        blockIdx.x = block % GRIDX, blockIdx.y = block / GRIDX;
        threadIdx.x = number % LANES, threadIdx.y = number / LANES;
        main_kernel(A, B, C);
      });
    for (auto& thread : threads) thread.join();
  }
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j) {
      float wanted = 0;
      for (int k = 0; k < depth; ++k)
        wanted += (float)A[i * depth + k] * (float)B[TRANSPOSED ? j * depth + k : k * columns + j];
      if ((float)C[i * columns + j] != (float)(SUM)wanted) return 1;
    }
  return 0;
}
"""


@attrs.frozen(kw_only=True)
class Launch:
    """What a kernel is of: a product of (rows, depth) and (depth, columns), its grid and threads in x and y.

    B is (columns, depth) where it is `transposed`; `factor` and `sum` are the types of A and B, and of C.
    """

    rows: int
    columns: int
    depth: int
    blocks: tuple[int, int]
    threads: tuple[int, int]
    transposed: bool = False
    factor: str = "float"
    sum: str = "float"


@attrs.frozen(kw_only=True)
class Emulated:
    """How a run ended: with every output right and no race, and whether two threads met at one place unguarded."""

    right: bool
    raced: bool


def emulate(source: str, folder: Path, launch: Launch) -> Emulated:
    """Compiles the kernel with g++ and runs it on all blocks, one after another."""
    kernel = source[source.rindex('extern "C" __global__') :]
    kernel = re.sub(r'extern "C" __global__|__launch_bounds__\(\d+\)|__restrict__', "", kernel)
    kernel = re.sub(r"__shared__ (alignas\(\d+\))", r"\1 static", kernel)
    kernel = re.sub(r"extern __shared__ __align__\((\d+)\) (\w+ \w+)\[\]", r"alignas(\1) static \2[65536]", kernel)
    words = {
        "ROWS": launch.rows, "COLUMNS": launch.columns, "DEPTH": launch.depth,
        "GRIDX": launch.blocks[0], "GRIDY": launch.blocks[1], "LANES": launch.threads[0], "WARPS": launch.threads[1],
        "TRANSPOSED": int(launch.transposed), "FACTOR": launch.factor, "SUM": launch.sum,
    }  # fmt: skip
    main = re.sub(r"\b[A-Z]{2,}\b", lambda found: str(words.get(found[0], found[0])), MAIN)
    code, program = folder / "kernel.cpp", folder / "kernel"
    code.write_text(HEADER + kernel + main, encoding="utf-8")
    options = ["-std=c++20", "-O1", "-fsanitize=thread", "-pthread", "-w"]
    built = subprocess.run(
        ["g++", *options, "-o", str(program), str(code)], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert "misaligned" not in done.stderr
    return Emulated(right=done.returncode == 0, raced="data race" in done.stderr)
