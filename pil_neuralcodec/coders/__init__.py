"""Entropy coders on one stack of words and a vector of heads ("lanes").

``lanes``           the word stack and its heads
``rans``, ``ubcs``  the two coders that push symbols on the lanes and pop them
``engine``          pushes and pops of many symbols at once, compiled or in numpy
``symbols``         groups of symbols: a sink collects them, a source gives them back
``widths``          more and fewer lanes at no cost in bits, and lanes as bytes
``stream``          a whole sequence of symbols as bytes: when lanes widen, exhaustion checks
``stack``           symbols on a stack that others lie on already, for bits-back
``logistic``        exact integer mixtures of logistics, and symbol search in them
``table``           static frequencies of a few symbols
"""
