"""GPUs that are not here, as XLA's compiler wants them described.

A description takes the place of the driver's answers, so that programs compile for a GPU on any
machine that has JAX's CUDA plugin. The compiler then cannot try out which of several algorithms is
quickest: memory and fusions are those of its first choice.
"""

from typing import NamedTuple

from glide_jax.scale import roofline


class Gpu(NamedTuple):
    """A GPU as its maker states it, beside what `roofline.CHIPS` has of it.

    Sources: whitepapers of the A100 and H100, datasheet of the H200.
    """

    name: str
    capability: tuple[int, int]
    processors: int  # streaming multiprocessors
    cache: int  # bytes of the second level
    shared: int  # bytes of shared memory of a processor
    clock: float  # GHz


GPUS = {
    "a100": Gpu("NVIDIA A100-SXM4-80GB", (8, 0), 108, 40 * 2**20, 164 << 10, 1.41),
    "h100": Gpu("NVIDIA H100 80GB HBM3", (9, 0), 132, 50 * 2**20, 228 << 10, 1.98),
    "h200": Gpu("NVIDIA H200", (9, 0), 132, 50 * 2**20, 228 << 10, 1.98),
}


def description(kind: str) -> str:
    """XLA's GpuTargetConfigProto of one of GPUS, as text."""
    gpu, chip = GPUS[kind], roofline.chip(kind)
    major, minor = gpu.capability
    per_block = gpu.shared - 1024  # the driver keeps a kilobyte of each block's
    return f"""
platform_name: "CUDA"
device_description_str: "{gpu.name}"
dnn_version_info {{ major: 9 minor: 8 }}
gpu_device_info {{
  cuda_compute_capability {{ major: {major} minor: {minor} }}
  core_count: {gpu.processors}
  fpus_per_core: {128 if major >= 9 else 64}
  clock_rate_ghz: {gpu.clock}
  device_memory_size: {chip.memory}
  memory_bandwidth: {int(chip.bandwidth)}
  l2_cache_size: {gpu.cache}
  shared_memory_per_core: {gpu.shared}
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: {per_block}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  threads_per_warp: 32
  threads_per_block_limit: 1024
  threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
}}"""
