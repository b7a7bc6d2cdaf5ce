"""Entropy coders in vectorised numpy, on one stack of words and a vector of heads ("lanes").

``lanes``          the word stack and its heads
``rans``, ``ubcs`` the two coders that push symbols on the lanes and pop them
``stream``         a whole sequence of symbols as bytes: seeded heads, flush, exhaustion checks
``logistic``       exact integer mixtures of logistics, and symbol search in them
"""
