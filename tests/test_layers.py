"""The house holds: imports point back along the flow, and light commands stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

import meteoseg

PACKAGE = Path(meteoseg.__file__).parent

#: Level of each module or package; a module imports from lower levels, and from its own as LEVEL_1_FLOW says.
LEVELS = {
    name: level
    for level, names in {
        0: "_version errors system legend grid elements expressions sampling section mineraldata",
        1: "io registration channels simulate minerals tiles resample labels objects stereology estimation modes "
        "metrics classify clusters report runs tables evaluation fetch chondrules spectra",
        2: "networks models",
        3: "predict inference train patches",
        4: "segmenting results pipeline batch finetuning clustering checkpoints cubes export",
        5: "commands cli __main__",
    }.items()
    for name in names.split()
}

#: Imports between modules of one level, each along the flow: who -> from whom.
FLOW = {
    "io": {"spectra"},
    "runs": {"io"},
    "channels": {"runs"},
    "registration": {"io", "resample", "runs"},
    "objects": {"stereology"},
    "labels": {"resample", "objects"},
    "classify": {"objects", "stereology"},
    "modes": {"estimation"},
    "chondrules": {"objects", "stereology", "modes", "classify", "estimation"},
    "report": {"objects", "minerals", "stereology", "chondrules", "classify"},
    "minerals": {"io", "estimation"},
    "simulate": {"io", "runs"},
    "tables": {"io", "objects", "modes", "classify", "chondrules", "runs", "estimation", "minerals"},
    "evaluation": {"io", "metrics", "tables"},
    "models": {"networks"},
    "inference": {"predict"},
    "train": {"predict"},
    "patches": {"train"},
    "pipeline": {"segmenting", "results"},
    "clustering": {"results"},
    "checkpoints": {"results"},
    "batch": {"pipeline"},
    "finetuning": {"segmenting"},
    "cli": {"commands"},
    "__main__": {"cli"},
}
#: Level 0 is ordered by itself: each may import those before it.
ORDER_0 = [
    "_version", "errors", "system", "grid", "elements", "expressions", "legend", "sampling", "section", "mineraldata",
]  # fmt: skip


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def unit_of(path: Path) -> str:
    """Name of the top-level module or package that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names.add(node.module or "")
            if node.module == "meteoseg":
                names.update(f"meteoseg.{alias.name}" for alias in node.names)
    return names


def units_used(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported(path) if name.startswith("meteoseg.")}


def test_every_module_has_a_level() -> None:
    assert {unit_of(path) for path in modules()} <= set(LEVELS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_back_along_the_flow(path: Path) -> None:
    unit = unit_of(path)
    for used in units_used(path) - {unit}:
        if LEVELS[used] == LEVELS[unit] == 0:
            assert ORDER_0.index(used) < ORDER_0.index(unit), f"{unit} imports {used}"
        elif LEVELS[used] == LEVELS[unit]:
            assert used in FLOW.get(unit, set()), f"{unit} imports {used} of its own level"
        else:
            assert LEVELS[used] < LEVELS[unit], f"{unit} (level {LEVELS[unit]}) imports {used} (level {LEVELS[used]})"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_torch_appears_in_levels_2_and_3_only(path: Path) -> None:
    heavy = {"torch", "lightning", "torchmetrics", "segmentation_models_pytorch", "torchvision", "safetensors"}
    used = {name.split(".")[0] for name in imported(path)} & heavy
    assert not used or LEVELS[unit_of(path)] in (2, 3), f"{unit_of(path)} imports {used}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_level_0_imports_no_library_but_numpy_and_scipy(path: Path) -> None:
    if LEVELS[unit_of(path)] > 0:
        return
    foreign = {name.split(".")[0] for name in imported(path)} - set(sys.stdlib_module_names)
    assert foreign <= {"meteoseg", "numpy", "scipy"}


def test_experiments_and_benchmarks_use_names_that_exist() -> None:
    folders = [PACKAGE.parent / name for name in ("experiments", "benchmarks")]
    missing = []
    for path in (path for folder in folders for path in sorted(folder.rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "meteoseg":
                module = import_module(str(node.module))
                names = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                missing += [f"{path}: {module.__name__}.{name}" for name in names if not submodule(module, name)]
    assert not missing


def submodule(package: ModuleType, name: str) -> bool:
    return hasattr(package, "__path__") and find_spec(f"{package.__name__}.{name}") is not None


def loaded_after(code: str) -> set[str]:
    """Top-level names of the modules that a fresh Python has loaded after running `code`."""
    probe = f"import sys\n{code}\nprint('\\n' + ' '.join({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_no_heavy_library() -> None:
    loaded = loaded_after("import meteoseg")
    assert "meteoseg" in loaded
    assert not loaded & {"torch", "pandas", "scipy", "skimage", "matplotlib"}


def test_help_loads_no_heavy_library() -> None:
    code = "from click.testing import CliRunner\nfrom meteoseg.cli import main\n"
    code += "assert CliRunner().invoke(main, ['--help']).exit_code == 0"
    assert not loaded_after(code) & {"torch", "numpy", "pandas", "scipy", "skimage", "matplotlib"}


def test_modes_does_not_load_torch() -> None:
    assert "torch" not in loaded_after(
        "import meteoseg.results.remaking, meteoseg.io, meteoseg.classify, meteoseg.report.tables"
    )


def test_segment_loads_no_training_library() -> None:
    loaded = loaded_after("import meteoseg.pipeline")
    assert not loaded & {"lightning", "torchmetrics", "albumentations", "torchvision", "segmentation_models_pytorch"}


def test_data_sets_of_images_are_written_without_torch() -> None:
    assert "torch" not in loaded_after("from meteoseg.patches import PatchSet, read_patch_set, write_shard")


def test_cluster_does_not_load_torch() -> None:
    assert "torch" not in loaded_after("import meteoseg.clustering")


def test_files_are_a_sitting_long() -> None:
    longest = max(modules(), key=lambda path: len(path.read_text(encoding="utf-8").splitlines()))
    assert len(longest.read_text(encoding="utf-8").splitlines()) <= 450, longest
