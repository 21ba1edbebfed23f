"""Compiled kernels for host arrays: numba, cached on disk, without the interpreter lock."""
