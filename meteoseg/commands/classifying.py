"""What `meteoseg classify` does: answers for result folders or a table, as text and as a table."""

from __future__ import annotations

from pathlib import Path

from meteoseg.classify import agreement
from meteoseg.report.tables import format_classification
from meteoseg.runs.output import whole_file
from meteoseg.tables.measure import classify_again


def classify_path(path: Path, out: Path | None, *, prior: str = "equal", is_fall: bool = False) -> str:
    """Classify result folders or a table; write the ranked groups to `out`; return what to tell the user.

    Where a table made by hand states groups, the text ends with how often the answer agrees with them.

    Raises
    ------
    InputError, UnknownNameError : see `meteoseg.classify.classify_table`.
    """
    answers = classify_again(path, prior=prior, is_fall=is_fall)
    parts = [f"{name}\n{format_classification(answer.to_json_dict())}" for name, answer in answers.found.items()]
    compared = agreement(answers.stated, answers.found)
    if compared["n"]:
        parts.append(
            f"Against the {compared['n']:.0f} stated groups: first in {compared['top_1']:.3f}, first or tied second in "
            f"{compared['top_1_or_tied']:.3f}, log-loss {compared['log_loss']:.3f}"
        )
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(out) as part:
            answers.table.to_csv(part, index=False)
    return "\n\n".join(parts)
