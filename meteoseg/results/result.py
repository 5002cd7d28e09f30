"""The results of one section: its folder, read when asked for."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from meteoseg.classify import Classification
from meteoseg.errors import InputError
from meteoseg.io import read_labels
from meteoseg.report.tables import format_chemistry, format_classification, format_modes, format_objects_summary
from meteoseg.results.mineralmaps import WHY_NOT
from meteoseg.runs.output import complete_or_absent, output_folder
from meteoseg.tables.measure import (
    CHEMISTRY_CSV,
    CHONDRULES_CSV,
    CLASSIFICATION_JSON,
    LABEL_FILES,
    MODES_CSV,
    REPORT_HTML,
    RUN_JSON,
    classify_folder,
)


@dataclass(frozen=True)
class Result:
    """The results of one section, in its folder.

    Label images are read when asked for: (H, W) integers, see `meteoseg.legend` for their meaning.
    """

    folder: Path

    @property
    def phases(self) -> NDArray[Any]:
        """Phase ids (H, W)."""
        return self._labels("phases")

    @property
    def components(self) -> NDArray[Any]:
        """Component ids (H, W)."""
        return self._labels("components")

    @property
    def chondrule_labels(self) -> NDArray[Any]:
        """Object ids (H, W), 0 where there is no chondrule."""
        return self._labels("chondrules")

    def _labels(self, layer: str) -> NDArray[Any]:
        path = self.folder / LABEL_FILES[layer]
        if not path.is_file():
            raise InputError(f"The model delivered no {layer}: use one that does.")
        return read_labels(path)

    @property
    def run(self) -> dict[str, Any]:
        """Provenance, the content of run.json."""
        return dict(json.loads((self.folder / RUN_JSON).read_text(encoding="utf-8")))

    def modes(self) -> pd.DataFrame:
        """Return the modal table, the content of modes.csv."""
        return pd.read_csv(self.folder / MODES_CSV)

    def chondrules(self) -> pd.DataFrame:
        """Return one row per object, the content of chondrules.csv."""
        if not (self.folder / CHONDRULES_CSV).is_file():
            raise InputError("The model delivered no components: there are no chondrules to list.")
        return pd.read_csv(self.folder / CHONDRULES_CSV)

    def chemistry(self) -> pd.DataFrame:
        """Return the compositions of minerals, the content of chemistry.csv."""
        if not (self.folder / CHEMISTRY_CSV).is_file():
            raise InputError(WHY_NOT)
        return pd.read_csv(self.folder / CHEMISTRY_CSV)

    def classify(self, *, prior: str = "equal") -> Classification:
        """Suggest a chondrite group from the tables."""
        return classify_folder(self.folder, prior=prior)

    def save(self, out: Path | str, *, name: str | None = None, overwrite: bool = False) -> Path:
        """Copy the result to ``out/name`` (default: the section's name) and return that folder.

        Raises
        ------
        OutputExistsError : that folder is not empty and `overwrite` is not set.
        """
        target = output_folder(Path(out), name or self.folder.name, overwrite=overwrite)
        with complete_or_absent(target) as partial:
            shutil.copytree(self.folder, partial, dirs_exist_ok=True)
        return target

    def summary(self) -> str:
        """Return the modal table, the chondrules, the suggestion and where the report lies, as text."""
        parts = [format_modes(self.modes())]
        if (self.folder / CHEMISTRY_CSV).is_file():
            parts.append(format_chemistry(self.chemistry()))
        if (self.folder / CHONDRULES_CSV).is_file():
            parts.append(format_objects_summary(self.chondrules()))
        answer = json.loads((self.folder / CLASSIFICATION_JSON).read_text(encoding="utf-8"))
        parts += [format_classification(answer), f"Report: {self.folder / REPORT_HTML}"]
        return "\n\n".join(parts)
