"""Keeping safe: where pictures come from, and which prompts and pictures are for nobody's eyes."""
