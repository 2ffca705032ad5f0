"""A model on disk: a directory with config.json, safetensors weights, tokenizer files and a card.

`schema` has config.json as dataclasses, `disk` the raw files, `reading` and `writing` whole models,
`weights` their formats in memory, and `importing` the way from and to PyTorch's checkpoints.
The package may import `checkpoints`, `networks`, `tokenizers`, `diffusion` and all below them.
"""
