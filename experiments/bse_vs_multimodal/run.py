"""Train every arm with every seed, one after the other; finished ones are skipped, a stopped one goes on.

    python experiments/real_sections/west_examples.py runs/west          # needs METEOSEG_DATA
    python experiments/bse_vs_multimodal/run.py                          # all of experiment.toml
    python experiments/bse_vs_multimodal/run.py --arms bse both --sections runs/sections/other

Each training is exactly ``meteoseg train arms/<run>.toml -o runs/bse_vs_multimodal/<run>``; the configurations are
written first. Then `table.py` scores the runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from plan import HERE, Plan, read_plan

from meteoseg.errors import InputError, MeteosegError
from meteoseg.models import MODEL_FILE
from meteoseg.train.config import TrainConfig, read_config
from meteoseg.train.loop import CONFIG

RUNS = Path("runs/bse_vs_multimodal")


def is_finished(config: Path, out: Path) -> bool:
    """Tell whether `out` holds a finished training with these settings.

    Raises
    ------
    InputError : it holds one with other settings.
    """
    if not (out / MODEL_FILE).is_file():
        return False
    if _settings(out / CONFIG) != _settings(config):
        raise InputError(
            f"{out} was trained with other settings than {config}: remove that folder or take another --out."
        )
    return True


def _settings(path: Path) -> TrainConfig:
    config = read_config(path)
    globs = {
        key: tuple(str(Path(glob).resolve()) for glob in getattr(config.data, key))
        for key in ("sections", "validation")
    }
    return replace(config, data=replace(config.data, **globs), optim=replace(config.optim, threads=0, workers=0))


def write_configs(plan: Plan, folder: Path) -> list[Path]:
    """Write the training configuration of every run, ``<run>.toml``."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for run in plan.runs():
        paths.append(folder / f"{run.name}.toml")
        paths[-1].write_text(plan.config(run, folder), encoding="utf-8")
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", help="some of the arms of experiment.toml (default: all)")
    parser.add_argument("--sections", type=Path, help="folder of simulated training examples")
    parser.add_argument("--west", type=Path, help="folder written by west_examples.py")
    parser.add_argument("--steps", type=int, help="of every training, for a trial")
    parser.add_argument("--out", type=Path, default=RUNS)
    parser.add_argument("--configs", type=Path, default=HERE / "arms")
    parser.add_argument("--write-only", action="store_true", help="write the configurations, train nothing")
    options = parser.parse_args()
    plan = read_plan(sections=options.sections, west=options.west).only(options.arms)
    if options.steps:
        plan = replace(plan, steps=dict.fromkeys(plan.steps, options.steps))
    configs = write_configs(plan, options.configs)
    todo = [path for path in configs if not is_finished(path, options.out / path.stem)]
    print(f"{len(configs)} trainings, {len(configs) - len(todo)} of them finished", flush=True)
    for number, path in enumerate([] if options.write_only else todo, start=1):
        started = time.monotonic()
        command = [sys.executable, "-m", "meteoseg", "train", str(path), "-o", str(options.out / path.stem)]
        print(f"[{number}/{len(todo)}]", "meteoseg", *command[3:], flush=True)
        subprocess.run(command, check=True)
        print(f"[{number}/{len(todo)}] {(time.monotonic() - started) / 60:.1f} min", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (MeteosegError, subprocess.CalledProcessError) as error:
        sys.exit(f"Error: {error}")
