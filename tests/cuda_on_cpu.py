"""Runs the CUDA source of a matrix product on the CPU: a thread for each thread, a barrier for each barrier.

Under GCC's thread sanitizer this proves what comes last, barriers, virtual threads and pipelines: a barrier too few is
a data race. The kernel must be of float32, with static shared memory, and take A, B and C.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from pathlib import Path

HEADER = """
#include <barrier>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <thread>
#include <vector>
struct Index { int x = 0, y = 0, z = 0; };
thread_local Index blockIdx, threadIdx;
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct int4 { int x, y, z, w; };
struct int2 { int x, y; };
float4 make_float4(float a, float b, float c, float d) { return {a, b, c, d}; }
float2 make_float2(float a, float b) { return {a, b}; }
int4 make_int4(int a, int b, int c, int d) { return {a, b, c, d}; }
int2 make_int2(int a, int b) { return {a, b}; }
std::barrier<>* together;
void __syncthreads() { together->arrive_and_wait(); }
float* aligned(std::vector<float>& memory) { return (float*)(((uintptr_t)memory.data() + 63) & ~(uintptr_t)63); }
"""

MAIN = """
int main() {
  const int size = SIZE, depth = DEPTH;
  std::vector<float> a(size * depth + 16), b(size * depth + 16), c(size * size + 16, NAN);
  float *A = aligned(a), *B = aligned(b), *C = aligned(c);
  for (int i = 0; i < size * depth; ++i) { A[i] = i * 7 % 23 - 11; B[i] = i * 5 % 19 - 9; }
  for (int block = 0; block < BLOCKS; ++block) {
    std::barrier<> all(THREADS);
    together = &all;
    std::vector<std::thread> threads;
    for (int number = 0; number < THREADS; ++number)
      threads.emplace_back([=] { blockIdx.x = block; threadIdx.x = number; main_kernel(A, B, C); });
    for (auto& thread : threads) thread.join();
  }
  for (int i = 0; i < size; ++i)
    for (int j = 0; j < size; ++j) {
      float wanted = 0;
      for (int k = 0; k < depth; ++k) wanted += A[i * depth + k] * B[k * size + j];
      if (!(std::fabs(wanted - C[i * size + j]) < 1e-3)) return 1;
    }
  return 0;
}
"""


@attrs.frozen(kw_only=True)
class Emulated:
    """How a run ended: with every output right and no race, and whether two threads met at one place unguarded."""

    right: bool
    raced: bool


def emulate(source: str, folder: Path, *, size: int, depth: int, blocks: int, threads: int) -> Emulated:
    """Compiles the kernel with g++ and runs it on all blocks, one after another."""
    kernel = source[source.rindex('extern "C" __global__') :]
    kernel = re.sub(r'extern "C" __global__|__launch_bounds__\(\d+\)|__restrict__', "", kernel)
    kernel = re.sub(r"__shared__ (alignas\(\d+\))", r"\1 static", kernel)
    main = MAIN
    for word, number in (("SIZE", size), ("DEPTH", depth), ("BLOCKS", blocks), ("THREADS", threads)):
        main = main.replace(word, str(number))
    code, program = folder / "kernel.cpp", folder / "kernel"
    code.write_text(HEADER + kernel + main, encoding="utf-8")
    options = ["-std=c++20", "-O1", "-fsanitize=thread", "-pthread", "-w"]
    built = subprocess.run(
        ["g++", *options, "-o", str(program), str(code)], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    return Emulated(right=done.returncode == 0, raced="data race" in done.stderr)
