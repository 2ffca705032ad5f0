"""The networks as Flax modules: GLIDE's UNet and text encoder, CLIP, and those of evaluation.

The names of parameters are an interface, since checkpoints and sharding rules spell them out.
Nothing here knows of diffusion, training or meshes: only the packages at ground level are imported.
"""
