"""The arms of the experiment as data: read from experiment.toml, turned into training configurations."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from meteoseg.errors import UnknownNameError

HERE = Path(__file__).parent
#: What a run is tested on.
SIMULATED, ZERO_SHOT, OTHER_HALF = "simulated", "real, no real label seen", "real, other half"


@dataclass(frozen=True)
class Arm:
    """A row of the table; `data` is ``simulated`` or ``west``, no `channels` means the canonical list."""

    name: str
    title: str
    data: str = "simulated"
    channels: tuple[str, ...] = ()
    fusion: str = "early"
    channel_dropout: Mapping[str, float] = field(default_factory=dict)
    subsets: tuple[str, ...] = ("all",)
    seeds: tuple[int, ...] = (1, 2, 3)


@dataclass(frozen=True)
class Run:
    """One training: an arm, a seed and, on the real section, the half that is trained on."""

    arm: Arm
    seed: int
    trained_on: tuple[Path, ...]
    validation: Path
    tests: Mapping[str, str]
    name: str


@dataclass(frozen=True)
class Plan:
    """The whole experiment; paths are those of the data and do not have to exist yet."""

    arms: tuple[Arm, ...]
    sections: Path
    west: Path
    data: Mapping[str, Any]
    training: Mapping[str, Any]
    steps: Mapping[str, int]
    subsets: Mapping[str, tuple[str, ...]]
    differences: tuple[Mapping[str, Any], ...]

    def only(self, names: list[str] | None) -> Plan:
        """Return the plan with some of its arms (None: all)."""
        known = [arm.name for arm in self.arms]
        for name in names or ():
            if name not in known:
                raise UnknownNameError.of("arm", name, known)
        return self if not names else replace(self, arms=tuple(arm for arm in self.arms if arm.name in names))

    def runs(self) -> list[Run]:
        """Return every training, seed by seed, so that an interrupted series still compares all arms."""
        simulated = {
            SIMULATED: str(self.sections / self.data["held_out"]),
            ZERO_SHOT: str(self.west / self.data["whole"]),
        }
        train, held_out = self.sections / self.data["train"], self.sections / self.data["held_out"]
        runs = []
        for arm in self.arms:
            for seed in arm.seeds:
                if arm.data == "simulated":
                    runs.append(Run(arm, seed, (train,), held_out, simulated, f"{arm.name}-{seed}"))
                    continue
                for trained, tested in self.data["folds"]:
                    name = f"{arm.name}-{seed}-{trained.removeprefix('west-')}"
                    half = self.west / tested
                    runs.append(Run(arm, seed, (self.west / trained,), half, {OTHER_HALF: str(half)}, name))
        return sorted(runs, key=lambda run: run.seed)

    def config(self, run: Run, folder: Path) -> str:
        """Return the training configuration of a run as TOML; globs are relative to `folder`, where it will lie."""
        steps = self.steps[run.arm.data]
        globs = {
            key: [Path(os.path.relpath(path, folder)).as_posix() for path in paths]
            for key, paths in {"sections": run.trained_on, "validation": [run.validation]}.items()
        }
        base = dict(self.training)
        own = {
            "name": run.arm.name,
            "seed": run.seed,
            **({"channels": run.arm.channels} if run.arm.channels else {}),
            "data": globs,
            "network": base.pop("network", {}) | {"fusion": run.arm.fusion},
            "optim": {"steps": steps, "validate_every": steps} | base.pop("optim", {}),
            "augment": base.pop("augment", {}) | {"channel_dropout": run.arm.channel_dropout},
        }
        return to_toml(base | own)


def to_toml(values: Mapping[str, Any], table: str = "") -> str:
    """Write nested tables of numbers, texts and lists as TOML, plain values first."""
    plain = [f"{key} = {json.dumps(value)}" for key, value in values.items() if not isinstance(value, Mapping)]
    text = ([f"[{table}]"] if table else []) + plain
    parts = ["\n".join(text)] if text else []
    for key, value in values.items():
        if isinstance(value, Mapping):
            parts.append(to_toml(value, f"{table}.{key}" if table else key))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def read_plan(path: Path = HERE / "experiment.toml", *, sections: Path | None = None, west: Path | None = None) -> Plan:
    """Read the experiment; `sections` and `west` take the place of the folders named in it."""
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    arms = tuple(
        Arm(**{key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()})
        for entry in values["arm"]
    )
    return Plan(
        arms,
        sections or Path(values["data"]["sections"]),
        west or Path(values["data"]["west"]),
        values["data"],
        values["training"],
        values["steps"],
        {name: tuple(channels) for name, channels in values["subsets"].items()},
        tuple(values["difference"]),
    )
