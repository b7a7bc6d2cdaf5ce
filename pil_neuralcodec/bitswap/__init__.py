"""Bit-Swap: hierarchical latent variable models, coded by recursive bits-back (Kingma, Abbeel, Ho 2019)."""
