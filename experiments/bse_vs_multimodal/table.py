"""Score the trained networks and write the tables and the figure of docs/bse_vs_multimodal.md.

    python experiments/bse_vs_multimodal/table.py            # after run.py; arms that are not trained are left out

Counts are kept in ``RUN/scores.csv`` and made anew only for a network or a list of sections that changed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from figure import draw
from intervals import Counts, Estimate
from plan import OTHER_HALF, SIMULATED, ZERO_SHOT, Arm, Plan, Run, read_plan
from run import RUNS
from scores import COUNTS, SCORES, score_folders

from meteoseg.errors import InputError, MeteosegError
from meteoseg.models import MODEL_FILE, Model, load_model
from meteoseg.train.dataset import find_examples
from meteoseg.train.loop import METRICS

TITLES = {
    SIMULATED: "Simulated sections of unseen seeds",
    ZERO_SHOT: "Semarkona ps1b west, no real label seen (the same networks)",
    OTHER_HALF: "Semarkona ps1b west, trained on one half, tested on the other",
}
BEGIN, END = "<!-- results: written by table.py -->", "<!-- end of results -->"
PAGE, IMAGE = Path("docs/bse_vs_multimodal.md"), Path("docs/images/bse_vs_multimodal.png")
#: What an arm is called in one test: (test, arm, subset).
Key = tuple[str, str, str]


def subsets_of(arm: Arm, test: str) -> tuple[str, ...]:
    """Return the channel subsets an arm is tested on; the real section has no more than those of ``both``."""
    return tuple(name for name in arm.subsets if test == SIMULATED or name != "all" or "both" not in arm.subsets)


def score_run(plan: Plan, run: Run, folder: Path, *, afresh: bool = False) -> pd.DataFrame:
    """Return the counts of a trained run by test, subset and unit, from its ``scores.csv`` where that still holds."""
    model = load_model(folder)
    wanted = {
        (test, subset, path.name)
        for test, pattern in run.tests.items()
        for subset in subsets_of(run.arm, test)
        for path in find_examples([pattern])
    }
    path = folder / "scores.csv"
    if path.is_file() and not afresh:
        kept = pd.read_csv(path, keep_default_na=False)
        folders = kept["unit"].str.rpartition(":")[0]
        if (
            set(kept["model"]) == {model.sha256}
            and set(zip(kept["test"], kept["subset"], folders, strict=True)) == wanted
        ):
            return kept
    table = _score(plan, run, model)
    table.to_csv(path, index=False)
    print(f"scored {folder}", flush=True)
    return table


def _score(plan: Plan, run: Run, model: Model) -> pd.DataFrame:
    tables = [
        score_folders(model, pattern, plan.subsets.get(subset)).assign(test=test, subset=subset)
        for test, pattern in run.tests.items()
        for subset in subsets_of(run.arm, test)
    ]
    return pd.concat(tables).assign(model=model.sha256)


def collect(plan: Plan, runs: Path, *, afresh: bool = False) -> tuple[dict[Key, Counts], pd.DataFrame]:
    """Score all finished runs; return the counts by test, arm and subset, and a row of facts per run."""
    finished = [run for run in plan.runs() if (runs / run.name / MODEL_FILE).is_file()]
    if not finished:
        raise InputError(f"{runs} holds no finished training: start run.py first.")
    parts = []
    for run in finished:
        parts.append(score_run(plan, run, runs / run.name, afresh=afresh).assign(arm=run.arm.name, seed=run.seed))
    counts = {}
    for key, table in pd.concat(parts).groupby(["test", "arm", "subset"]):
        cube = table.pivot_table(index="seed", columns="unit", values=list(COUNTS))
        complete = cube.dropna()  # a seed that lacks one of the halves is left out
        if len(complete):
            stacked = np.stack([complete[name].to_numpy() for name in COUNTS], axis=-1)
            counts[key] = Counts(f"{key[1]}/{key[2]}", key[0], stacked)
    return counts, pd.DataFrame([_facts(run, runs / run.name) for run in finished])


def _facts(run: Run, folder: Path) -> dict[str, object]:
    model = load_model(folder, device="cpu")
    parameters = sum(p.numel() for network in model.networks.values() for p in network.parameters())
    seconds = pd.read_csv(folder / METRICS)["seconds"].max()
    return {"run": run.name, "arm": run.arm.name, "parameters": parameters, "minutes": seconds / 60}


def row_title(plan: Plan, key: Key) -> str:
    """Name a row: the arm, and the channels it is tested on where it takes several sets."""
    arm = next(arm for arm in plan.arms if arm.name == key[1])
    if len(arm.subsets) == 1:
        return arm.title
    return f"{arm.title}; tested on {' '.join(plan.subsets.get(key[2], ('all of them',)))}"


def ordered(plan: Plan, counts: dict[Key, Counts], test: str) -> list[Key]:
    """Return the rows of one test in the order of the plan."""
    keys = [(test, arm.name, subset) for arm in plan.arms for subset in arm.subsets]
    return [key for key in keys if key in counts]


def _cell(estimate: Estimate, column: int, sign: str = "") -> str:
    values = (estimate.mean[column], estimate.low[column], estimate.high[column])
    mean, low, high = (f"{value:{sign}.3f}" for value in values)
    return f"{mean} ({low} to {high})"


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines)


def score_table(plan: Plan, counts: dict[Key, Counts], facts: pd.DataFrame, test: str) -> str:
    """Write the table of one test: a row per arm, a column per score."""
    rows = []
    for key in ordered(plan, counts, test):
        own = facts[facts["arm"] == key[1]]
        parameters, minutes = own["parameters"].iloc[0] / 1e6, own["minutes"].mean()
        estimate = counts[key].estimate()
        about = [str(len(estimate.seeds)), f"{parameters:.2f} M", f"{minutes:.1f}"]
        rows.append([row_title(plan, key), *about, *(_cell(estimate, column) for column in range(len(SCORES)))])
    first = counts[ordered(plan, counts, test)[0]].values[0]
    n_objects, n_units = int(first[:, [0, 2]].sum()), len(first)
    unit = "sections" if test == SIMULATED and n_units > 1 else "blocks"
    head = ["channels", "seeds", "parameters", "minutes", *SCORES]
    return f"### {TITLES[test]}\n\n{n_objects} objects, {n_units} {unit}.\n\n{_markdown(head, rows)}"


def difference_table(plan: Plan, counts: dict[Key, Counts]) -> str:
    """Write the table of differences between arms, with paired intervals."""
    rows = []
    for entry in plan.differences:
        for first, second in entry["of"]:
            for test in TITLES:
                pair = [_find(counts, test, name) for name in (first, second)]
                if pair[0] is not None and pair[1] is not None:
                    gain = pair[0].minus(pair[1])
                    rows.append([entry["title"], test, *(_cell(gain, column, "+") for column in range(len(SCORES)))])
    return "### Differences\n\n" + _markdown(["", "tested on", *SCORES], rows) if rows else ""


def _find(counts: dict[Key, Counts], test: str, name: str) -> Counts | None:
    arm, _, subset = name.partition("/")
    return counts.get((test, arm, subset or "all"))


def write_page(page: Path, text: str) -> None:
    """Put `text` between the markers of the page."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{page} lacks the lines '{BEGIN}' and '{END}': put them where the tables belong.")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--sections", type=Path, help="as for run.py")
    parser.add_argument("--west", type=Path, help="as for run.py")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--image", type=Path, default=IMAGE)
    parser.add_argument("--rescore", action="store_true", help="segment again, whatever scores.csv holds")
    options = parser.parse_args()
    plan = read_plan(sections=options.sections, west=options.west)
    counts, facts = collect(plan, options.runs, afresh=options.rescore)
    tests = [test for test in TITLES if ordered(plan, counts, test)]
    panels = {
        TITLES[test]: [(row_title(plan, key), counts[key].estimate()) for key in ordered(plan, counts, test)]
        for test in tests
    }
    draw(panels, options.image)
    picture = f"![Scores of the arms]({options.image.resolve().relative_to(options.page.resolve().parent)})"
    tables = [score_table(plan, counts, facts, test) for test in tests]
    facts_line = f"{len(facts)} trainings, {facts['minutes'].sum():.0f} minutes in all."
    blocks = [facts_line, picture, difference_table(plan, counts), *tables]
    write_page(options.page, "\n\n".join(block for block in blocks if block))
    print(f"wrote {options.page} and {options.image}")


if __name__ == "__main__":
    try:
        main()
    except MeteosegError as error:
        sys.exit(f"Error: {error}")
