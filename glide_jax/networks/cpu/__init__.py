"""The algorithms that exist because of a CPU's compiler, behind one convolution and one norm.

Networks call `convolution.convolve3x3`, `norms.group_norm` and `sums.add_bias`, which on other
devices are what JAX and Flax have; `choice.prepared` decides how a model's convolutions are done.
Only `choice` imports anything of the networks outside this folder.
"""
