"""Figures: every chart has marks where its numbers are, nulls are not drawn, and users can restyle what they get."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any
from xml.etree import ElementTree

import altair as alt
import polars as pl
import pytest
import vl_convert

import signoise as sn
from signoise import plot
from signoise.plot._labels import place_labels, text_width

SVG = "{http://www.w3.org/2000/svg}"


@cache
def example_report() -> pl.DataFrame:
    return sn.report(sn.example_scores())


@cache
def instances() -> pl.DataFrame:
    return sn.simulate(tasks=1, recipes=5, params=(1e9,), checkpoints=2, instances=200, signal=0.1)[0]


@cache
def comparisons() -> pl.DataFrame:
    return sn.compare(instances())


@cache
def union() -> pl.DataFrame:
    scores, _ = sn.simulate(
        tasks=4, recipes=6, params=(1e9,), checkpoints=6, signal=[0.001, 0.01, 0.03, 0.05]
    )
    return scores.with_columns(subtask="task", task=pl.lit("suite"))


@cache
def runs() -> pl.DataFrame:
    sizes = {"params": [1e8, 4e8, 1e9, 4e9] * 3, "tokens": [2e9] * 4 + [8e9] * 4 + [3.2e10] * 4}
    return pl.DataFrame(sizes).with_columns(
        loss=1.7 + 400 * pl.col("params") ** -0.34 + 410 * pl.col("tokens") ** -0.28
    )


@cache
def curve() -> pl.DataFrame:
    places = pl.DataFrame({"params": [1e8, 1e9, 1e10], "tokens": [3.2e10] * 3})
    return sn.predict(runs(), "power_law", x="params", y="loss", at=places, n_resamples=20)


def decisions() -> pl.DataFrame:
    scores, _ = sn.simulate(tasks=2, recipes=5, params=(1e8, 3e8, 1e9), checkpoints=6)
    tables = [
        sn.decision_accuracy(scores, small=f"params = {n}", target="params = 1000000000").with_columns(
            params=pl.lit(n)
        )
        for n in (100_000_000, 300_000_000)
    ]
    return pl.concat(tables)


def target() -> pl.DataFrame:
    return curve().tail(1).with_columns(actual=pl.lit(2.0))


FIGURES: dict[str, Callable[[], Any]] = {
    "signal_noise_plane": lambda: plot.signal_noise_plane(example_report()),
    "training_curves": lambda: plot.training_curves(sn.example_scores(), where="params = 150000000", most=2),
    "decision_curve": lambda: plot.decision_curve(decisions(), x="params"),
    "snr_vs_decision_accuracy": lambda: plot.snr_vs_decision_accuracy(example_report()),
    "subtask_curves": lambda: plot.subtask_curves(sn.filter_subtasks(union())),
    "subtask_gains": lambda: plot.subtask_gains(sn.filtering_gain(union(), n_splits=3)),
    "scaling_law": lambda: plot.scaling_law(curve(), x="params", y="loss", points=runs(), target=target()),
    "comparison_matrix": lambda: plot.comparison_matrix(comparisons()),
    "critical_difference": lambda: plot.critical_difference(sn.rank(instances()), comparisons=comparisons()),
    "noise_sources": lambda: plot.noise_sources(sn.variance(sn.example_scores(), where="params = 150000000")),
    "averaging_gain": lambda: plot.averaging_gain(
        sn.averaging_gain(sn.example_scores(), by=("task", "metric", "params"), windows=(1, 3)), most=2
    ),
    "sample_size": lambda: plot.sample_size(sn.sample_size(instances(), sizes=4, n_subsets=10)),
}
CHARTS = sorted(FIGURES)


@cache
def chart(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        return FIGURES[name]()


def rendered(figure: Any) -> ElementTree.Element:
    return ElementTree.fromstring(vl_convert.vegalite_to_svg(json.dumps(figure.to_dict())))


def marks(svg: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    """The items of a kind of mark, without those of axes and legends."""
    groups = [g for g in svg.iter(f"{SVG}g") if f"mark-{kind} role-mark" in g.get("class", "")]
    return [item for group in groups for item in group]


def dictionaries(found: Any) -> Iterator[dict[str, Any]]:
    if isinstance(found, dict):
        yield found
        for value in found.values():
            yield from dictionaries(value)
    elif isinstance(found, list):
        for value in found:
            yield from dictionaries(value)


def test_every_figure_is_tested() -> None:
    assert set(plot.__all__) - {"benchmark_table"} == set(CHARTS)


@pytest.mark.parametrize("name", CHARTS)
def test_every_figure_is_drawn_with_words(name: str) -> None:
    svg = rendered(chart(name))
    drawn = sum(len(marks(svg, kind)) for kind in ("symbol", "line", "rect", "rule", "area"))
    assert drawn >= 2
    spec = chart(name).to_dict()
    assert len(spec["description"]) > 40
    assert spec["title"]["text"]
    assert "config" not in spec or set(spec["config"]) <= {
        "view"
    }  # Altair's own; ours would forbid combining
    assert all("NaN" not in (item.get("d") or item.get("transform") or "") for item in svg.iter())


@pytest.mark.parametrize("name", CHARTS)
def test_axes_have_titles_and_few_colours_are_told_apart(name: str) -> None:
    titles = [
        found["title"]
        for found in dictionaries(chart(name).to_dict())
        if "labelFontSize" in found and "gridColor" in found
    ]
    assert any(titles)
    ranges = [
        found["range"]
        for found in dictionaries(chart(name).to_dict())
        if isinstance(found.get("range"), list)
    ]
    assert all(len(set(colours)) == len(colours) for colours in ranges if len(colours) <= 8)


def test_charts_can_be_put_together_and_restyled() -> None:
    first, second = chart("signal_noise_plane"), chart("snr_vs_decision_accuracy")
    both = (first | second).configure_axis(labelFontSize=20).properties(title="mine")
    assert both.to_dict()["title"] == "mine"


# --- what is drawn, and what is not


def test_the_plane_draws_defined_benchmarks_alone() -> None:
    table = example_report()
    undefined = table.filter(pl.col("snr").is_null())["task"].to_list()
    assert undefined == ["sim_boolq"]
    figure = chart("signal_noise_plane")
    assert len(marks(rendered(figure), "symbol")) == table.height - 1
    assert "1 benchmark (sim_boolq)" in json.dumps(figure.to_dict()["title"])
    assert "sim_boolq" not in {row.get("label") for row in _data(figure)}


def _data(figure: Any) -> list[dict[str, Any]]:
    """All rows, which are text in the chart's data sets."""
    return [row for values in figure.to_dict()["datasets"].values() for row in json.loads(values)]


def test_lines_of_equal_snr_hold_their_ratio() -> None:
    lines = [row for row in _data(chart("signal_noise_plane")) if set(row) == {"snr", "x", "y"}]
    assert len(lines) >= 4
    assert all(row["y"] / row["x"] == pytest.approx(row["snr"]) for row in lines)


def test_an_unknown_decision_accuracy_is_no_zero() -> None:
    table = example_report().with_columns(
        decision_accuracy=pl.when(task="sim_arc").then(None).otherwise(pl.col("decision_accuracy"))
    )
    figure = plot.signal_noise_plane(table)
    point = next(row for row in _data(figure) if row.get("label") == "sim_arc" and "signal" in row)
    assert point["decision_accuracy"] is None
    points = marks(rendered(figure), "symbol")
    assert len(points) == len(marks(rendered(chart("signal_noise_plane")), "symbol"))
    fills = {item.get("fill") for item in points}
    assert plot._theme.MUTED in fills


def test_the_line_is_that_of_least_squares() -> None:
    table = example_report().drop_nulls(["snr", "decision_accuracy"])
    ends = sorted(
        (row["x"], row["y"]) for row in _data(chart("snr_vs_decision_accuracy")) if set(row) == {"x", "y"}
    )
    x, y = table["snr"].log10(), table["decision_accuracy"]
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    (x0, y0), (x1, y1) = ends
    assert (y1 - y0) / (pl.Series([x1]).log10() - pl.Series([x0]).log10())[0] == pytest.approx(slope)


def test_bands_of_training_curves_are_the_noise() -> None:
    scores = sn.example_scores().filter(params=150_000_000, task="sim_arc")
    bands = {row["run"]: row for row in _data(plot.training_curves(scores)) if row.get("kind") == "noise"}
    expected = sn.noise(scores, per="run")
    assert set(bands) == set(expected["run"])
    for run, mean, noise in expected.select("run", "mean", "noise_absolute").iter_rows():
        assert (bands[run]["low"], bands[run]["high"]) == pytest.approx((mean - noise, mean + noise))


def test_missing_checkpoints_are_no_zeros() -> None:
    scores = sn.example_scores().filter(params=150_000_000, task="sim_arc")
    holes = scores.with_columns(value=pl.when(pl.col("step") == 4000).then(None).otherwise(pl.col("value")))
    lines = [row for row in _data(plot.training_curves(holes)) if row.get("kind") == "score"]
    assert len(lines) == scores.filter(pl.col("step") != 4000).height
    assert all(row["value"] is not None and row["value"] > 0.2 for row in lines)


def test_an_unknown_seed_has_no_bar() -> None:
    figure = chart("noise_sources")
    assert {row["source"] for row in _data(figure)} == {"between models", "checkpoint"}
    assert "seed: unknown" in json.dumps(figure.to_dict()["title"])


def test_significant_cells_are_marked_both_ways() -> None:
    shown = comparisons().filter(pl.col("p_adjusted") < 0.05).height
    assert 0 < shown < comparisons().height
    signs = [item for item in marks(rendered(chart("comparison_matrix")), "text") if item.text in "+−"]
    assert len(signs) == 2 * shown


def test_cliques_join_runs_that_do_not_differ() -> None:
    table = pl.DataFrame({"run_a": ["a", "a", "b"], "run_b": ["b", "c", "c"], "p_adjusted": [0.5, 0.01, 0.2]})
    assert plot._critical_difference._cliques(table, ["a", "b", "c"], 0.05) == [(0, 1), (1, 2)]
    assert plot._critical_difference._cliques(table, ["a", "b", "c"], 0.001) == [(0, 2)]


def test_limits_of_the_target_are_drawn() -> None:
    svg = rendered(chart("scaling_law"))
    assert len(marks(svg, "symbol")) == runs().height + 2  # the runs, the prediction, what came
    assert len(marks(svg, "area")) == 2


# --- names


def test_labels_do_not_collide() -> None:
    points = [(100 + 7 * (i % 9), 100 + 5 * (i // 3)) for i in range(40)]
    texts = [f"benchmark_{i}" for i in range(40)]
    places = place_labels(points, texts, width=520, height=340)
    boxes = [(p.x, p.y - 6, p.x + text_width(texts[p.index], 11), p.y + 6) for p in places]
    assert len(boxes) > 8
    for i, a in enumerate(boxes):
        assert a[0] >= 0
        assert a[2] <= 520
        assert not any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in boxes[:i])
        assert not any(a[0] < x < a[2] and a[1] < y < a[3] for x, y in points)
    assert places == place_labels(points, texts, width=520, height=340)


def test_rows_are_named_by_what_tells_them_apart() -> None:
    table = pl.DataFrame(
        {
            "task": ["t", "t", "u"],
            "metric": ["acc"] * 3,
            "config": ["shots=0", "shots=5", None],
            "signal": [1.0] * 3,
        }
    )
    names = plot._frames.labelled(table)["label"].to_list()
    assert names == ["t · shots=0", "t · shots=5", "u"]


def test_hostile_names_are_text() -> None:
    evil = '<script>alert(1)</script>&"\x1b]0;'
    table = example_report().with_columns(
        task=pl.when(task="sim_arc").then(pl.lit(evil)).otherwise(pl.col("task"))
    )
    texts = [item.text for item in marks(rendered(plot.signal_noise_plane(table)), "text")]
    assert any(text and text.startswith("<script>") for text in texts)


# --- what cannot be drawn


@pytest.mark.parametrize(
    ("figure", "column"),
    [
        (plot.signal_noise_plane, "signal"),
        (plot.decision_curve, "decision_accuracy"),
        (plot.snr_vs_decision_accuracy, "snr"),
        (plot.subtask_curves, "rule"),
        (plot.subtask_gains, "rule"),
        (plot.scaling_law, "flops"),
        (plot.comparison_matrix, "run_a"),
        (plot.critical_difference, "run"),
        (plot.noise_sources, "share_members"),
        (plot.averaging_gain, "window"),
        (plot.sample_size, "size"),
        (plot.benchmark_table, "snr"),
    ],
)
def test_a_missing_column_is_named(figure: Any, column: str) -> None:
    with pytest.raises(
        sn.SchemaError, match=f"{figure.__name__} needs the column '{column}'.*this table has other"
    ):
        figure(pl.DataFrame({"other": [1.0]}))
    with pytest.raises(sn.SchemaError, match="a Polars DataFrame; found list"):
        figure([1, 2])


def test_a_close_name_is_suggested() -> None:
    with pytest.raises(sn.SchemaError, match="did you mean 'signals'"):
        plot.signal_noise_plane(example_report().rename({"signal": "signals"}))


def test_nothing_to_draw_says_why() -> None:
    table = example_report().filter(task="sim_boolq")
    with pytest.raises(sn.InsufficientDataError, match=r"none of 1 rows has signal and noise .*1 constant"):
        plot.signal_noise_plane(table)


def test_several_benchmarks_where_one_is_drawn() -> None:
    two = pl.concat([comparisons(), comparisons().with_columns(task=pl.lit("other"))])
    with pytest.raises(sn.SchemaError, match=r"draws one benchmark; found 2 .*table\.filter\(task="):
        plot.comparison_matrix(two)


@pytest.mark.parametrize(
    ("name", "module"), [("signal_noise_plane", "altair"), ("benchmark_table", "great_tables")]
)
def test_the_extra_is_named_where_it_is_missing(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(sn.SignoiseError, match=r"not installed; pip install 'signoise\[report\]'"):
        getattr(plot, name)(example_report())


def test_the_table_holds_rows_and_limits() -> None:
    html = plot.benchmark_table(example_report()).as_raw_html()
    assert "sim_hellaswag" in html
    assert "Decision accuracy" in html
    assert f">{example_report()['snr'][0]:.0f}" in html
    low = example_report()["snr_low"].round_sig_figs(3)[0]
    assert f"{low} to" in html


def test_altair_is_asked_for_by_charts_alone() -> None:
    assert isinstance(chart("decision_curve"), alt.LayerChart)
