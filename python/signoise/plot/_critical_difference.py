"""In what order the runs stand, and which neighbours cannot be told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from ._altair import altair
from ._frames import drawable, frame_of, inline, one_group, short_names
from ._theme import ACCENT, INK, MUTED, WIDTH, axis, finish, title

if TYPE_CHECKING:
    import altair as alt


def critical_difference(
    table: pl.DataFrame,
    *,
    comparisons: pl.DataFrame | None = None,
    level: float = 0.05,
    width: int = WIDTH,
    height: int | None = None,
) -> alt.LayerChart:
    """Runs by rank with the ranks that each may truly have; thick bars join runs without a shown difference.

    Parameters
    ----------
    table : DataFrame
        A result of `rank` for one benchmark.
    comparisons : DataFrame, optional
        A result of `compare` for the same benchmark and runs: joins runs none of which differs from another with
        ``p_adjusted`` below `level`.
    level : float
        Family-wise level of those bars.
    width, height : int, optional
        Pixels of the plotting area; the height follows the number of runs.

    Returns
    -------
    altair.LayerChart

    Notes
    -----
    Demšar's diagram (2006, Journal of Machine Learning Research 7) has mean ranks over data sets and one critical
    difference for all; here the ranks are of one benchmark, and each interval is the run's own.

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=4, params=(1e9,), checkpoints=1, instances=300, signal=0.1)
    >>> chart = sn.plot.critical_difference(sn.rank(scores), comparisons=sn.compare(scores))
    """
    figure = "critical_difference"
    every = frame_of(table, figure, "rank", ("run", "mean", "rank", "rank_low", "rank_high"))
    name = one_group(every, figure)
    kept = drawable(every, figure, ("rank",)).sort("rank", "run")
    runs = kept["run"].to_list()
    names = list(short_names(runs, 30).values())
    kept = kept.with_columns(
        pl.Series("name", names),
        said=pl.format("{}", pl.col("mean").round_sig_figs(4)),
        place=pl.int_range(pl.len()) + 0.5,
    )
    alt = altair()
    last = len(runs)
    y = alt.Y("name:N", sort=names, scale=alt.Scale(domain=names), axis=axis(title=None, grid=False))
    ticks = list(range(1, last + 1, 1 + last // 20))
    x = alt.X(
        "rank:Q",
        scale=alt.Scale(domain=[0.5, last + 0.5], nice=False),
        axis=axis(title="rank (1 is best)", format="d", values=ticks),
    )
    base = alt.Chart(inline(kept)).encode(y=y)
    layers = [
        base.transform_filter("isValid(datum.rank_low) && isValid(datum.rank_high)")
        .mark_rule(color=ACCENT, strokeWidth=5, opacity=0.35, strokeCap="round")
        .encode(x=alt.X("rank_low:Q"), x2=alt.X2("rank_high")),
        base.mark_point(filled=True, color=ACCENT, size=70, opacity=1).encode(
            x=x,
            tooltip=[
                alt.Tooltip("run:N"),
                alt.Tooltip("rank:Q"),
                alt.Tooltip("rank_low:Q"),
                alt.Tooltip("rank_high:Q"),
                alt.Tooltip("mean:Q"),
            ],
        ),
        base.mark_text(align="left", color=MUTED, fontSize=10).encode(
            x=alt.value(width + 6), text=alt.Text("said:N")
        ),
    ]
    said = ["bars: ranks that each run may truly have; right: mean score"]
    cliques = _cliques(comparisons, runs, level) if comparisons is not None else []
    if cliques:
        layers.append(_joined(cliques, names, width))
        said.append(
            f"thick lines at the right join runs without a shown difference (family-wise level {level:g})"
        )
    text = (
        f"{last} runs on {name} by rank, best first: "
        + ", ".join(
            f"{run} ({low} to {high})"
            for run, low, high in kept.select("run", "rank_low", "rank_high").iter_rows()
        )
        + "."
    )
    return finish(
        alt.layer(*layers),
        title(f"Who is ahead: {name}", said),
        text,
        width=width,
        height=height or 30 + 24 * last,
    )


def _joined(cliques: list[tuple[int, int]], names: list[str], width: int) -> alt.Chart:
    alt = altair()
    rows = pl.DataFrame(
        {
            "name": [names[i] for clique in cliques for i in range(clique[0], clique[1] + 1)],
            "clique": [i for i, clique in enumerate(cliques) for _ in range(clique[0], clique[1] + 1)],
        }
    )
    places = [width + 58 + 10 * i for i in range(len(cliques))]
    lines = [
        alt.Chart(inline(rows.filter(clique=i)))
        .mark_line(color=INK, strokeWidth=4, strokeCap="round")
        .encode(x=alt.value(place), y=alt.Y("name:N", sort=names))
        for i, place in enumerate(places)
    ]
    return alt.layer(*lines)


def _cliques(table: pl.DataFrame, runs: list[str], level: float) -> list[tuple[int, int]]:
    """Longest stretches of neighbours in rank, first and last place, in which no pair differs."""
    kept = frame_of(table, "critical_difference", "compare", ("run_a", "run_b", "p_adjusted"))
    apart = {
        frozenset(pair)
        for *pair, p in kept.select("run_a", "run_b", "p_adjusted").iter_rows()
        if p is not None and p < level
    }
    found: list[tuple[int, int]] = []
    for first in range(len(runs)):
        last = first
        while last + 1 < len(runs) and not any(
            frozenset((runs[i], runs[last + 1])) in apart for i in range(first, last + 1)
        ):
            last += 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found
