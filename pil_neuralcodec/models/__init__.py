"""Models: their contents and ids (``identity``), their files (``file``), and how they are found (``find``)."""

from .file import save
from .find import ENVIRONMENT, FORMAT_KINDS, NEWEST, by_id, known, load, search_folders
from .identity import KINDS, SEMANTICS, Architecture, Model, kind_of, model_id

__all__ = [
    "ENVIRONMENT",
    "FORMAT_KINDS",
    "KINDS",
    "NEWEST",
    "SEMANTICS",
    "Architecture",
    "Model",
    "by_id",
    "kind_of",
    "known",
    "load",
    "model_id",
    "save",
    "search_folders",
]
