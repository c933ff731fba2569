"""The HTML report: its answer, its structure, hostile names, and the page as a browser shows it."""

from __future__ import annotations

import io
import json
import re
import shutil
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

import signoise as sn
from signoise._cli import main
from signoise._html import _figures, _verdicts
from signoise._html._chosen import choose
from signoise._html._markup import data_block, tag, text
from signoise._html._render import Renderer
from signoise._html._svg import inline_svg
from signoise._report import make_report

EVIL = "<script>document.title='owned'</script>\"'&]]></script><!--"
#: What most pages have; the others need more than one size, subtasks, laws or instances.
USUAL = ["Signal and noise", "SNR and decision accuracy", "Training curves", "Sources of noise"]


class Page(HTMLParser):
    """Elements of a page by name, with their attributes and the text inside."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, name: str, /, **attributes: str) -> list[dict[str, str | None]]:
        found = [attrs for tag, attrs in self.elements if tag == name]
        return [a for a in found if all(a.get(key.rstrip("_")) == value for key, value in attributes.items())]


def written(path: Path, scores: Any, **options: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        sn.report(scores, html=path, **options)
    return path.read_text(encoding="utf-8")


def full_scores() -> pl.DataFrame:
    """All that figures need: six sizes, subtasks, standard errors, and a hostile name."""
    scores, _ = sn.simulate(
        tasks=["a", "b", "c", "d", EVIL],
        recipes=3,
        params=(5e7, 1e8, 2e8, 4e8, 1e9, 2e9),
        checkpoints=5,
        tokens_per_param=20,
        signal=[0.03, 0.02, 0.01, 0.001, 0.02],
    )
    union = scores.filter(pl.col("task") != EVIL).with_columns(subtask="task", task=pl.lit("suite"))
    return pl.concat(
        [scores.with_columns(subtask=pl.lit(None, pl.String)), union.select(*scores.columns, "subtask")]
    ).with_columns(stderr=0.01)


class Pretended:
    """Takes charts and draws nothing, for pages that nobody looks at."""

    def __enter__(self) -> Pretended:
        self.sent = 0
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, chart: dict[str, Any]) -> None:
        assert chart["description"]
        self.sent += 1

    def finish(self) -> list[str]:
        return ["<svg width='1' height='1'></svg>"] * self.sent


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signoise._html.Renderer", Pretended)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("html") / "example.html"
    written(path, sn.example_scores())
    return path


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("html") / "full.html"
    written(path, full_scores())
    return path


# --- what it says


def test_it_opens_with_the_answer(example: Path) -> None:
    content = example.read_text(encoding="utf-8")
    header = " ".join(Page(content[content.index("<header>") : content.index("</header>")]).texts)
    assert "Of 6 benchmarks, 3 can separate your recipes at 150M." in header
    noisy = "sim_copa, sim_mmlu (the range is no more than noise makes it)"
    assert f"These 3 cannot: {noisy}; sim_boolq (all scores are equal)." in header
    assert (
        "Does the order of the recipes at 150M hold at 1B? On those that separate, 93% of the pairs stay in order"
        in header
    )


@pytest.mark.parametrize("given", [True, False])
def test_decisions_from_every_size_below_the_target(given: bool) -> None:
    sides = {"small": "params = 1e8", "target": "params = 1e9"} if given else {}
    scores = full_scores().filter(pl.col("subtask").is_null()).drop("subtask")
    report = make_report(scores, **sides)
    data = _figures._decisions(report, choose(report)).data
    costs = [6.0 * params * 20 * params for params in (5e7, 1e8, 2e8, 4e8, *([] if given else [1e9]))]
    assert data["flops"].unique().sort().to_list() == pytest.approx(costs)
    small, target = "params = 2e8", "params = 1e9" if given else "params = 2e9"
    expected = sn.decision_accuracy(scores, small=small, target=target, match="recipe").filter(task="a")
    found = data.filter(pl.col("task") == "a", (pl.col("flops") / (120 * 4e16) - 1).abs() < 1e-6)
    assert found["decision_accuracy"].to_list() == expected["decision_accuracy"].to_list()


def test_verdicts_are_the_ranges_tests() -> None:
    report = make_report(sn.example_scores())
    judged = _verdicts.verdicts(report)
    tested = sn.signal(sn.example_scores(), where="params = 150000000", across="recipe")
    small = set(tested.filter(pl.col("range_p_value") < 0.05)["task"])
    assert set(judged.table.filter(verdict=_verdicts.YES)["task"]) == small
    assert judged.table["task"].to_list() == report.table["task"].to_list()


def test_near_chance_an_order_that_holds_is_believed() -> None:
    small = sn.example_scores().filter(params=150_000_000)
    chance = {"sim_arc": small.filter(task="sim_arc")["value"].mean()}
    made = make_report(sn.example_scores(), chance=chance)
    for low, verdict, reason in ((0.2, _verdicts.NO, "at chance level"), (0.7, _verdicts.YES, "")):
        table = made.table.with_columns(decision_low=pl.lit(low))
        judged = _verdicts.verdicts(replace(made, table=table)).table.filter(task="sim_arc")
        assert judged.select("verdict", "reason").row(0) == (verdict, reason)


def test_what_cannot_be_said_is_said(tmp_path: Path, undrawn: None) -> None:
    one = sn.example_scores().filter(pl.col("run") == pl.col("run").first(), task="sim_arc")
    content = written(tmp_path / "one.html", one)
    assert "Of 1 benchmark, none can separate your models." in content
    assert "Of 1 nothing can be said: too few models or checkpoints." in content
    assert "Figures that these scores do not give" in content


def test_figures_that_are_not_there_have_reasons(example: Path) -> None:
    content = example.read_text(encoding="utf-8")
    absent = content[content.index('id="absent"') : content.index('id="rows"')]
    for name, reason in (
        ("Law of scale", "five sizes"),
        ("Subtasks", "--group"),
        ("Comparison of models", "instances, or standard errors"),
    ):
        assert re.search(rf"<strong>{name}</strong>: [^<]*{re.escape(reason)}", absent)


def test_all_figures_are_there_where_scores_allow_it(full: Path) -> None:
    content = full.read_text(encoding="utf-8")
    headings = re.findall(r"<section id=\"figure-\d+\"[^>]*><h2>([^<]*)</h2>", content)
    assert headings == [
        *USUAL[:3],
        "Decision accuracy against compute",
        "Law of scale",
        "Subtasks",
        "Sources of noise",
        "Comparison of models",
        "Ranks of models",
    ]
    assert 'id="absent"' not in content


def test_instances_are_compared(tmp_path: Path, undrawn: None) -> None:
    scores, _ = sn.simulate(tasks=1, recipes=4, params=(1e9,), checkpoints=2, instances=100, signal=0.1)
    content = written(tmp_path / "instances.html", scores)
    assert "<h2>Comparison of models</h2>" in content
    assert "<h2>Ranks of models</h2>" in content


def test_what_to_do_is_what_advise_says(tmp_path: Path, undrawn: None) -> None:
    scores, _ = sn.simulate(tasks=["good", "l<b>k"], recipes=24, signal=[0.05, 0.0], step_noise=0.005)
    content = written(tmp_path / "advice.html", scores)
    said = sn.advise(scores)["advice"].to_list()
    assert "<h2>What to do</h2>" in content
    assert f"<li>1. {said[0].replace('<', '&lt;').replace('>', '&gt;')}</li>" in content
    unknown = scores.with_columns(metric=pl.lit("vibes"))
    assert "<li>No advice: no direction is known for vibes" in written(tmp_path / "vibes.html", unknown)


# --- how it is made


def test_it_is_whole_and_accessible(full: Path) -> None:
    content = full.read_text(encoding="utf-8")
    page = Page(content)
    assert page.all("html", lang="en")
    assert len(page.all("h1")) == 1
    assert len(page.all("meta", name="viewport")) == 1
    headers = page.all("th", scope="col")
    assert len(headers) >= 10
    assert [h["aria-sort"] for h in headers].count("descending") == 1
    assert all(h["aria-sort"] in ("none", "descending") for h in headers)
    drawn = page.all("svg")
    assert all(svg["role"] == "img" and len(svg["aria-label"] or "") > 40 for svg in drawn)
    ids = [attrs["id"] for _, attrs in page.elements if attrs.get("id")]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"url\(#([^)]+)\)", content))
    assert used <= set(ids)
    assert "prefers-color-scheme: dark" in content
    assert "@media print" in content
    assert len(content) < 1_500_000


def test_it_fetches_nothing(full: Path) -> None:
    content = full.read_text(encoding="utf-8")
    page = Page(content)
    addresses = [
        v
        for _, attrs in page.elements
        for k, v in attrs.items()
        if k in ("src", "href", "xlink:href", "action")
    ]
    assert addresses == []
    assert set(re.findall(r"https?://[^\"' )]*", content)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    policy = [a for a in page.all("meta") if a.get("http-equiv")]
    assert "default-src 'none'" in (policy[0]["content"] or "")


def test_hostile_names_are_only_text(full: Path) -> None:
    content = full.read_text(encoding="utf-8")
    page = Page(content)
    kinds = [attrs.get("type") for attrs in page.all("script")]
    assert kinds.count(None) == 1  # ours
    assert set(kinds) == {None, "text/csv"}
    assert len(re.findall(r"<script", content)) == len(kinds)
    assert "document.title='owned'" in "".join(page.texts)
    assert "<!--" not in content


def test_pieces_of_markup_escape() -> None:
    assert tag("p", EVIL, title=EVIL).count("<") == 2
    assert text("a\x1b[31m\u202e<") == "a [31m &lt;"
    assert "<" not in data_block(EVIL, id_="x", kind="text/csv").split(">", 1)[1].removesuffix("</script>")
    inside = '<g id="clip0" fill="white" aria-label="x" role="y"/><g clip-path="url(#clip0)"/>'
    svg = f'<svg class="marks" width="10" height="20">{inside}</svg>'
    made = inline_svg(svg, name="f", words='"><script>')
    assert 'aria-label="&quot;&gt;&lt;script&gt;"' in made
    assert 'id="f-clip0" fill="var(--card)"/>' in made
    assert "url(#f-clip0)" in made


def test_the_remaking_command_is_there(example: Path, tmp_path: Path, undrawn: None) -> None:
    assert f"signoise.report(scores, html=&#x27;{example}&#x27;)" in example.read_text(encoding="utf-8")
    content = written(tmp_path / "x.html", sn.example_scores(), window=3)
    assert "signoise.report(scores, window=3, html=" in content


def test_the_command_line_writes_it(tmp_path: Path, undrawn: None) -> None:
    sn.example_scores().write_csv(tmp_path / "scores.csv")
    page = tmp_path / "out.html"
    done = CliRunner().invoke(main, ["report", str(tmp_path / "scores.csv"), "--html", str(page)])
    assert done.exit_code == 0, done.output
    assert f"wrote the report to {page}" in done.output
    content = page.read_text(encoding="utf-8")
    assert "read 1 table file" in content
    assert not list(tmp_path.glob(".*"))
    both = CliRunner().invoke(main, ["report", str(tmp_path / "scores.csv"), "--html", str(page), "--json"])
    assert json.loads(both.stdout)[0]["task"] == "sim_arc"


@pytest.mark.parametrize(
    ("value", "said"),
    [("x.txt", "known ones are .html"), (".", "is a directory"), ("no/x.html", "does not exist")],
)
def test_paths_that_cannot_be_written(
    value: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sn.example_scores().write_csv("scores.csv")
    done = CliRunner().invoke(main, ["report", "scores.csv", "--html", value])
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "vl_convert" else object())
    with pytest.raises(
        sn.SignoiseError, match=r"vl-convert is not installed: pip install 'signoise\[report\]'"
    ):
        Renderer()


def test_a_chart_that_cannot_be_drawn_is_an_error() -> None:
    with Renderer() as renderer:
        renderer.send({"mark": "nonsense", "data": {"values": []}, "encoding": 3})
        with pytest.raises(sn.InternalError, match="could not be drawn"):
            renderer.finish()


def test_stages_and_scales_grow() -> None:
    rows = pl.DataFrame({"tokens": [float(10 * i) for i in range(1, 11)]})
    sides = _figures._stages(rows, "tokens > 50.0")
    assert [price[1] for *_, price in sides] == [10.0, 20.0, 30.0, 50.0]
    assert all(small == f"tokens <= {price[1]!r}" for small, _, _, price in sides)


# --- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium and chromedriver here (Debian: apt-get install chromium chromium-driver)")
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--window-size=1200,900",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = Chrome(options=options, service=ChromeService(driver))
    folder = tmp_path_factory.mktemp("downloads")
    opened.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    opened.downloads = folder  # type: ignore[attr-defined]
    yield opened
    opened.quit()


def show(browser: Any, path: Path) -> None:
    browser.get_log("browser")
    browser.get_log("performance")
    from selenium.webdriver.support.ui import WebDriverWait

    # A busy driver may come back while the page is still read.
    browser.get("about:blank")
    browser.get(f"file://{path}")
    there = "return document.readyState === 'complete' && location.protocol === 'file:'"
    WebDriverWait(browser, 20).until(lambda driver: driver.execute_script(there))


def requests(browser: Any) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if not url.startswith(("file:", "data:", "blob:"))]


def column(browser: Any, index: int) -> list[str]:
    rows = "[...document.querySelectorAll('#benchmarks tbody tr:not([hidden])')]"
    return browser.execute_script(f"return {rows}.map(row => row.cells[arguments[0]].innerText)", index)


def headings(browser: Any) -> list[str]:
    return browser.execute_script(
        "return [...document.querySelectorAll('#benchmarks thead button')].map(b => b.innerText)"
    )


def test_a_browser_shows_every_figure(browser: Any, full: Path) -> None:
    show(browser, full)
    assert browser.get_log("browser") == []
    assert browser.title.startswith("signoise: Of ")
    script = """
        return [...document.querySelectorAll('figure svg')].map(svg => {
          const box = svg.getBoundingClientRect();
          const marks = [...svg.querySelectorAll('.role-mark path, .role-mark line')].filter(mark => {
            const size = mark.getBoundingClientRect();
            return size.width + size.height > 0 && size.left < box.right && size.top < box.bottom;
          });
          return [box.width, box.height, marks.length];
        })"""
    drawn = browser.execute_script(script)
    assert len(drawn) == 9
    assert all(width > 300 and height > 60 and marks >= 2 for width, height, marks in drawn)
    assert requests(browser) == []


def test_the_table_sorts_by_keyboard_and_filters(browser: Any, example: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    show(browser, example)
    names = column(browser, 0)
    assert names[0] == "sim_arc"
    noise = headings(browser).index(next(h for h in headings(browser) if h.startswith("Noise")))
    button = browser.find_elements("css selector", "#benchmarks thead button")[noise]
    button.send_keys(Keys.ENTER)
    found = [float(value) for value in column(browser, noise)]
    assert found == sorted(found, reverse=True)
    button.send_keys(Keys.ENTER)
    found = [float(value) for value in column(browser, noise)]
    assert found == sorted(found)
    state = browser.execute_script(
        "return [...document.querySelectorAll('#benchmarks thead th')].map(h => h.ariaSort)"
    )
    assert state[noise] == "ascending"
    assert state.count("none") == len(state) - 1
    browser.find_elements("css selector", "#benchmarks thead button")[2].click()
    assert column(browser, 2)[-1] == "–"  # undefined stays last
    browser.find_element("id", "find").send_keys("sim_m")
    assert column(browser, 0) == ["sim_mmlu"]
    assert browser.find_element("id", "count").text == "1 of 6 rows"
    browser.find_element("id", "find").clear()
    browser.find_element("id", "find").send_keys(" ")
    browser.find_element("css selector", "#show option[value=yes]").click()
    assert sorted(column(browser, 0)) == ["sim_arc", "sim_hellaswag", "sim_paloma"]
    assert browser.get_log("browser") == []
    assert requests(browser) == []


def test_downloads_hold_the_numbers(browser: Any, full: Path) -> None:
    show(browser, full)
    buttons = browser.find_elements("css selector", "button.download")
    assert len(buttons) == 10
    files = {button.get_attribute("data-file") for button in buttons}
    assert len(files) == 10
    for button in buttons:
        browser.execute_script("arguments[0].click()", button)
    until = time.monotonic() + 20
    while {path.name for path in browser.downloads.glob("*.csv")} < files and time.monotonic() < until:
        time.sleep(0.05)
    table = pl.read_csv(io.BytesIO((browser.downloads / "benchmarks.csv").read_bytes()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        expected = sn.report(full_scores())
    assert table["task"].to_list() == expected["task"].to_list()
    assert table["snr"].to_list() == expected["snr"].to_list()
    assert EVIL in table["task"].to_list()
    curves = pl.read_csv(browser.downloads / "training-curves.csv")
    assert set(curves.columns) >= {"run", "step", "value"}
    assert browser.get_log("browser") == []
    assert requests(browser) == []


def test_a_phone_need_not_scroll_sideways(browser: Any, full: Path) -> None:
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        show(browser, full)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_dark_and_light_have_contrast(browser: Any, example: Path) -> None:
    script = """
        const style = element => getComputedStyle(element);
        const muted = document.querySelector('figcaption'), card = document.querySelector('section');
        const axis = document.querySelector('figure svg text');
        return [style(muted).color, style(card).backgroundColor, style(axis).fill]"""
    for scheme in ("light", "dark"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        show(browser, example)
        muted, card, axis = (luminance(colour) for colour in browser.execute_script(script))
        for colour in (muted, axis):
            lighter, darker = max(colour, card), min(colour, card)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, scheme
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def luminance(colour: str) -> float:
    """Relative luminance of ``rgb(r, g, b)``, as WCAG 2 defines it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_pythia_table(browser: Any, shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "pythia.html"
    where = "suite = 'pythia-v1' AND variant = 'main' AND shots = 0 AND metric = 'acc'"
    content = written(path, str(shared / "data" / "pythia_evals.parquet"), where=where)
    assert len(content) < 1_500_000
    show(browser, path)
    assert browser.get_log("browser") == []
    assert len(column(browser, 0)) == 65
    assert browser.execute_script("return document.querySelectorAll('figure svg').length") >= 7
    assert requests(browser) == []
