"""Triton kernels and their launchers: no checks, no autograd. Imported on first use by `heterad.ops`."""
