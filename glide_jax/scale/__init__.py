"""Large meshes that need not be here: places of arrays, checked gradients, compiled programs.

It predicts memory, traffic and time of a run or a sampler on TPU pods and GPU clusters, and proves
that gradients on a mesh are those of one device. It may import training and everything below.
"""
