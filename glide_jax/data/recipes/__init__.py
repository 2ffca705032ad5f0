"""Recipes of the sets that `glide-jax data build` makes: emoji, clip art, shapes and COCO.

`packages` fetches what they are made of, `rendering` draws it, `builders` writes the set, and
`packing` makes it small enough to travel. They import `data.readers` and the extra `data`.
"""
