"""Minerals, chondrules, modal abundances and a chondrite group from SEM maps of a meteorite section.

Examples
--------
>>> import meteoseg as ms
>>> section = ms.Section.from_arrays("A12", {"Fe": [[1, 2, 3], [4, 5, 6]]}, pixel_size_um=2.0)
>>> section.shape
(2, 3)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from meteoseg._version import __version__
from meteoseg.errors import (
    ChannelError,
    DiskFullError,
    InputError,
    MemoryLimitError,
    MeteosegError,
    OutputExistsError,
    PixelSizeError,
    ShapeMismatchError,
    UnknownNameError,
)

if TYPE_CHECKING:
    import meteoseg.patches as patches
    import meteoseg.train as train
    from meteoseg.channels import composite as composite
    from meteoseg.clustering import ClusterOptions as ClusterOptions
    from meteoseg.clustering import ClusterResult as ClusterResult
    from meteoseg.clustering import cluster as cluster
    from meteoseg.finetuning.tuning import FineTuneOptions as FineTuneOptions
    from meteoseg.finetuning.tuning import finetune as finetune
    from meteoseg.io import open_section as open_section
    from meteoseg.pipeline import Result as Result
    from meteoseg.pipeline import segment as segment
    from meteoseg.registration.aligning import Alignment as Alignment
    from meteoseg.registration.aligning import align_maps as align_maps
    from meteoseg.registration.registering import Registration as Registration
    from meteoseg.registration.registering import register as register
    from meteoseg.section import Section as Section
    from meteoseg.section import Stack as Stack

#: Public names loaded at first use, so that the import stays light: name -> (module, attribute or "").
_LAZY: dict[str, tuple[str, str]] = {
    "Alignment": ("meteoseg.registration.aligning", "Alignment"),
    "ClusterOptions": ("meteoseg.clustering", "ClusterOptions"),
    "ClusterResult": ("meteoseg.clustering", "ClusterResult"),
    "FineTuneOptions": ("meteoseg.finetuning.tuning", "FineTuneOptions"),
    "Registration": ("meteoseg.registration.registering", "Registration"),
    "Result": ("meteoseg.pipeline", "Result"),
    "Section": ("meteoseg.section", "Section"),
    "Stack": ("meteoseg.section", "Stack"),
    "align_maps": ("meteoseg.registration.aligning", "align_maps"),
    "cluster": ("meteoseg.clustering", "cluster"),
    "composite": ("meteoseg.channels", "composite"),
    "finetune": ("meteoseg.finetuning.tuning", "finetune"),
    "open_section": ("meteoseg.io", "open_section"),
    "patches": ("meteoseg.patches", ""),
    "register": ("meteoseg.registration.registering", "register"),
    "segment": ("meteoseg.pipeline", "segment"),
    "train": ("meteoseg.train", ""),
}

__all__ = [
    "Alignment",
    "ChannelError",
    "ClusterOptions",
    "ClusterResult",
    "DiskFullError",
    "FineTuneOptions",
    "InputError",
    "MemoryLimitError",
    "MeteosegError",
    "OutputExistsError",
    "PixelSizeError",
    "Registration",
    "Result",
    "Section",
    "ShapeMismatchError",
    "Stack",
    "UnknownNameError",
    "__version__",
    "align_maps",
    "cluster",
    "composite",
    "finetune",
    "open_section",
    "patches",
    "register",
    "segment",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'meteoseg' has no attribute '{name}'")
    module_name, attribute = _LAZY[name]
    module = import_module(module_name)
    return getattr(module, attribute) if attribute else module


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
