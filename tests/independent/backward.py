from typing import Any
def decode_adapted(stream, mixtures, positions, earlier): raise NotImplementedError
