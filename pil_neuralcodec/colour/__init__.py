"""Colour conversions that images have been through: recognised, undone, and made again exactly."""
