"""The response that a section was measured with, as a file beside its results: calibration or error of wt% maps."""

from __future__ import annotations

import json
from pathlib import Path

from meteoseg.errors import InputError
from meteoseg.minerals.calibration import Calibration
from meteoseg.minerals.likelihood import Response
from meteoseg.minerals.quantified import QuantifiedResponse

_QUANTIFIED = "meteoseg-quantified-1"


def write_response(path: Path, response: Response) -> None:
    """Write a calibration (as `Calibration.to_json` does) or the error model of quantified maps.

    Raises
    ------
    InputError : a response of another kind.
    """
    if isinstance(response, Calibration):
        response.to_json(path)
        return
    if not isinstance(response, QuantifiedResponse):
        raise InputError(f"A response of type {type(response).__name__} cannot be written: use a calibration or wt%.")
    data = {"format": _QUANTIFIED, "noise_wt_pct": response.noise_wt_pct, "relative_sd": response.relative_sd}
    path.write_text(json.dumps(data, indent=1, allow_nan=False), encoding="utf-8")


def read_response(path: Path) -> Calibration | QuantifiedResponse:
    """Read what `write_response` wrote, number for number.

    Raises
    ------
    InputError : the file is missing, no JSON, or damaged.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or data.get("format") != _QUANTIFIED:
            return Calibration.from_json(path)
        noise = {str(name): float(value) for name, value in data["noise_wt_pct"].items()}
        return QuantifiedResponse(noise, float(data["relative_sd"]))
    except FileNotFoundError as error:
        raise InputError(f"Calibration file {path} does not exist.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"Calibration file {path} is damaged ({error}): segment the section again.") from error
