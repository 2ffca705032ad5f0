"""Checkpoints: those of a training run (`store`), and those that PyTorch wrote (`torch`).

`download` fetches large files, and `released` knows the files of OpenAI's release.
The package may import `mesh`, `tokenizers`, `data` and the ground floor, but no network.
"""
