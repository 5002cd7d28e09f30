"""Model files: tensors and a card in one safetensors file; where they are found."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from meteoseg.errors import InputError, UnknownNameError

#: Name of the model file inside the folder that a training writes.
MODEL_FILE = "model.safetensors"
_CARD_KEY = "meteoseg_card"
_SUFFIX = ".safetensors"


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_tensors(path: Path, card_json: str, tensors: Mapping[str, Tensor]) -> Path:
    """Write tensors in half precision (single where they leave its range) with the text of a card beside them."""
    halved = {name: _halved(value).contiguous().clone() for name, value in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(save(halved, metadata={_CARD_KEY: card_json}))
    return temporary.replace(path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a model file, in the precision in which they lie there."""
    with safe_open(path, framework="pt") as handle:
        return {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 (not a mapping)


def _halved(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu()
    if not tensor.is_floating_point():
        return tensor
    half = tensor.to(torch.float16)
    return half if bool(torch.isfinite(half).all()) else tensor.float()


def shipped_models() -> dict[str, Path]:
    """Return the models that come with the package, by name."""
    folder = Path(str(resources.files("meteoseg").joinpath("weights")))
    return {path.stem: path for path in sorted(folder.glob(f"*{_SUFFIX}"))}


def find_model(name_or_path: str | Path) -> Path:
    """Return the model file of a shipped name, a file, or a training folder.

    Raises
    ------
    UnknownNameError : neither a shipped model nor an existing file or folder.
    InputError : a folder without a model file.
    """
    shipped = shipped_models()
    if isinstance(name_or_path, str) and name_or_path in shipped:
        return shipped[name_or_path]
    path = Path(name_or_path)
    if path.is_dir():
        if not (path / MODEL_FILE).is_file():
            raise InputError(f"Folder {path} holds no {MODEL_FILE}: give a folder that a finished training wrote.")
        return path / MODEL_FILE
    if path.is_file():
        return path
    raise UnknownNameError.of("model (and no such file or folder)", str(name_or_path), shipped)


def read_card_text(path: Path) -> str:
    """Read the card of a model file as it was written (JSON).

    Raises
    ------
    InputError : the file is damaged or is no model of this package.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(f"Model {path} cannot be read ({error}): fetch or train it again.") from error
    if _CARD_KEY not in metadata:
        raise InputError(f"Model {path} carries no meteoseg card: give a model that meteoseg wrote.")
    return str(metadata[_CARD_KEY])
