"""One label for a stack of channels: data sets, training, labels of images and of the objects of a section."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meteoseg.patches.card import PatchCard as PatchCard
    from meteoseg.patches.config import PatchConfig as PatchConfig
    from meteoseg.patches.config import read_patch_config as read_patch_config
    from meteoseg.patches.dataset import PatchSet as PatchSet
    from meteoseg.patches.dataset import read_patch_set as read_patch_set
    from meteoseg.patches.dataset import write_shard as write_shard
    from meteoseg.patches.model import PatchModel as PatchModel
    from meteoseg.patches.model import classify_patches as classify_patches
    from meteoseg.patches.model import load_patch_model as load_patch_model
    from meteoseg.patches.textures import classify_objects as classify_objects
    from meteoseg.patches.textures import classify_results as classify_results
    from meteoseg.patches.training import train_patches as train_patches

#: Public names and their modules, loaded at first use: data sets are written without torch.
_LAZY = {
    "PatchCard": "card",
    "PatchConfig": "config",
    "PatchModel": "model",
    "PatchSet": "dataset",
    "classify_objects": "textures",
    "classify_patches": "model",
    "classify_results": "textures",
    "load_patch_model": "model",
    "read_patch_config": "config",
    "read_patch_set": "dataset",
    "train_patches": "training",
    "write_shard": "dataset",
}

__all__ = [
    "PatchCard",
    "PatchConfig",
    "PatchModel",
    "PatchSet",
    "classify_objects",
    "classify_patches",
    "classify_results",
    "load_patch_model",
    "read_patch_config",
    "read_patch_set",
    "train_patches",
    "write_shard",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'meteoseg.patches' has no attribute '{name}'")
    return getattr(import_module(f"meteoseg.patches.{_LAZY[name]}"), name)
