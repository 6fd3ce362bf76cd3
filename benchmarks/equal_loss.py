# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Error of peers at the loss of detail that a preset of ours has, on the cases of anatomy.py.

    python benchmarks/equal_loss.py [--cases ct-brain ct-abdomen] [--methods gaussian nlm tv bm4d-known]
                                    [--preset default] [--seed 1] [--slices 8] [--crop 224]

A method that removes more noise erases more anatomy, so that errors alone compare strengths. Here one setting of each
peer is changed until it loses as much detail as ours. BM4D, which ``make bench-peers`` installs, is told sd and
spectrum of the noise that was added, times a factor.
"""

from __future__ import annotations

import argparse
import math
import sys
from typing import NamedTuple

from anatomy import MAKERS, WIDTH, threads
from anatomy_methods import denoised
from cases import MissingData
from rich.console import Console
from rich.table import Table
from run import machine
from scipy.optimize import brentq
from trial import Trial

CASES = ("ct-brain", "ct-head", "ct-abdomen", "ct-chest")
METHODS = ("gaussian", "nlm", "tv")


class Knob(NamedTuple):
    """The setting of a peer that is changed."""

    setting: str
    least: float
    """A value at which hardly anything is removed"""
    most: float
    """and one at which more is lost than with ours."""


KNOBS = {
    "gaussian": Knob("px", 0.1, 8.0),
    "nlm": Knob("h", 0.05, 8.0),
    "tv": Knob("weight", 0.01, 8.0),
    "bm4d-known": Knob("sigmas", 0.1, 2.0),
}
LOG_TOLERANCE = 0.02
RUNS = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=CASES, help="beginnings of cases of anatomy.py that have detail")
    parser.add_argument("--methods", nargs="+", choices=KNOBS, default=list(METHODS))
    parser.add_argument("--preset", default="default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--crop", type=int, default=224)
    options = parser.parse_args()
    print(machine(threads()), flush=True)
    for name in (name for name in MAKERS if any(name.startswith(word) for word in options.cases)):
        try:
            trial = MAKERS[name](options.seed, options.slices, options.crop)
        except MissingData as error:
            print(f"skipped: {error}", file=sys.stderr)
            continue
        compare(trial, options)


def compare(trial: Trial, options: argparse.Namespace) -> None:
    """Print error, detail lost and noise left of the preset, and of each peer with the setting found."""
    ours = trial.measure(denoised(trial, options.preset, options.seed)[0])
    table = Table("method", "setting", "detail %", "rmse", "left", title=f"{trial.name}, seed {options.seed}")
    rows = {options.preset: ("", ours)}
    for method in options.methods:
        value, figures = at_loss(trial, method, options.seed, ours["detail %"])
        rows[method] = (f"{KNOBS[method].setting} {value:.3g}", figures)
    for method, (setting, figures) in rows.items():
        table.add_row(method, setting, *(f"{figures[column]:.3g}" for column in ("detail %", "rmse", "left")))
    Console(width=WIDTH).print(table)


def at_loss(trial: Trial, method: str, seed: int, lost: float) -> tuple[float, dict[str, float]]:
    """Return the setting with which a peer loses so much detail, in percent, and its figures."""
    knob, figures = KNOBS[method], {}
    # Non-local means that are told the noise blur however small h is.
    others = {"known": 0.0} if method == "nlm" else {}

    def above(log_value: float) -> float:
        settings = {**others, knob.setting: math.exp(log_value)}
        figures[log_value] = trial.measure(denoised(trial, method, seed, settings)[0])
        return figures[log_value]["detail %"] - lost

    brentq(above, math.log(knob.least), math.log(knob.most), xtol=LOG_TOLERANCE, maxiter=RUNS, disp=False)
    nearest = min(figures, key=lambda log_value: abs(figures[log_value]["detail %"] - lost))
    return math.exp(nearest), figures[nearest]


if __name__ == "__main__":
    main()
