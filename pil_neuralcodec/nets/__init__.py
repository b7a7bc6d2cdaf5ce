"""Exact integer networks: one definition, run by a numpy or a torch backend with the same result.

``spec``     the layers as data (int8 weights, int32 bias, shifts) and their safetensors form
``backends`` the interface, and the choice of a backend
``numpy_backend``, ``torch_backend``  the kernels
``training`` straight-through twins of the layers (imports torch; never imported by the codec)
"""
