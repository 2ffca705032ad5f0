"""Judges models: protocols of prompts, features and metrics of pictures, probes, votes, reports.

It may import `sampling` and everything below it; only `benchmarks`, `serving` and `cli` import it.
Nothing here prints or reads flags: `setup` turns checked settings into an evaluation that `cli`
and `launch/studies` run.
"""
