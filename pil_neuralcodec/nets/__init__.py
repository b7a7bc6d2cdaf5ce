"""Exact integer networks: one definition, run by the compiled core, torch or numpy with the same result.

``spec``
    The layers as data: int8 weights, int32 biases, shifts.
``positions``
    Inputs that depend on the row or the column alone.
``shapes``
    What an architecture says of its layers, and the operations it uses.
``backends``
    The interface of a network, and the choice of a backend.
``native_backend``, ``torch_backend``, ``numpy_backend``
    The kernels: the compiled core on CPUs, torch on GPUs, numpy as the reference and where there is no core.
``training``
    Differentiable versions of the layers. Imports torch; the codec never imports it.
"""
