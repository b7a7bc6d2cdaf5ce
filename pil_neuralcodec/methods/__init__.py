"""The methods of the format, one file for each, behind one registry.

``direct``  methods without a network (``raw``, ``filtered``, ``webp``, ``predictor``, ``jpeg``)
``choice``  which of these makes the smallest payload
``photo``, ``patch``, ``bitswap``  methods with a model; ``chains`` is what the last two share
``base``    what all methods have in common
"""
