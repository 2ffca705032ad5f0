"""Feature extractors: networks that turn pictures into the vectors that metrics compare.

`known` opens an extractor by its name, and each file of weights has a module that reads it. They
may import `networks`, `tokenizers`, `data.recipes.packages` and `checkpoints.torch`.
"""
