"""The methods of the format behind one registry, each with its payload in one file.

``base``      what all methods have in common
``direct``    methods without a network (``raw``, ``filtered``, ``webp``, ``predictor``, ``jpeg``)
``choice``    which of these makes the smallest payload
``photo``     tiles of the photo flow
``patch``, ``bitswap``  chains of blocks; ``bitsback`` is what the two share
``registry``  every method by its number
"""
