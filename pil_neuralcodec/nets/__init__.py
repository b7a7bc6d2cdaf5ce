"""Exact integer networks: one definition, run by a numpy or a torch backend with the same result.

``spec``
    The layers as data: int8 weights, int32 biases, shifts.
``shapes``
    What an architecture says of its layers, and the operations it uses.
``backends``
    The interface of a network, and the choice of a backend.
``numpy_backend``, ``torch_backend``
    The kernels.
``training``
    Differentiable versions of the layers. Imports torch; the codec never imports it.
"""
