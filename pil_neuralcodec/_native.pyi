"""Compiled kernels; only ``native`` imports this module."""

def instruction_sets() -> list[str]:
    """Instruction sets that have kernels in this build and that this machine can run, fastest first."""
