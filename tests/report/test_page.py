import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from meteoseg.errors import InputError
from meteoseg.report.page import (
    ChannelFact,
    Picture,
    ReportContent,
    SectionFacts,
    fit_pictures,
    render_report,
    write_report,
)


def png(shape: tuple[int, int], *, noise: bool = False) -> bytes:
    rng = np.random.default_rng(5)
    rgb = rng.integers(0, 255, (*shape, 3), dtype=np.uint8) if noise else np.zeros((*shape, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def content(modes, objects, classification) -> ReportContent:
    fe = ChannelFact("Fe", "counts", "map_Fe.tif", "element symbol in the name")
    return ReportContent(
        title="A12",
        section=SectionFacts("A12", (908, 978), (1.0, 1.0), "option", (fe,), pixel_size_error_pct=2.0),
        modes=modes,
        chondrules=objects,
        classification=classification,
        pictures=[Picture("Phases", png((20, 30)), "All."), Picture("Groups", png((5, 9)), chart=True)],
        run={"version": "1.2.3", "inputs": [{"file": "map_Fe.tif", "sha256": "abc123"}], "options": {"tta": False}},
        notes=["The mask was ignored."],
        timings_s={"segment": 12.34},
    )


class _Resources(HTMLParser):
    """Collects what a browser would load and checks that tags nest."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_loads_nothing_from_outside(content):
    page = render_report(content)
    parser = _Resources()
    parser.feed(page)
    assert parser.open == []
    assert len(parser.links) == 2
    assert all(link.startswith("data:image/png;base64,") for link in parser.links)
    assert not re.search(r"https?://|url\(|@import|<script", page)


def test_every_number_of_the_modal_table_is_on_the_page(content, modes):
    page = render_report(content)
    for column in ("area_pct", "ci_low_pct", "ci_high_pct", "wt_pct"):
        for value in modes[column].dropna():
            assert f"{value:.2f}" in page
    for name in modes["name"]:
        assert name in page


def test_text_of_the_user_is_escaped(content):
    hostile = "<b>Sem</b> & \"co\" 'x'"
    section = replace(content.section, name=hostile, channels=(ChannelFact("Fe", "counts", hostile, hostile),))
    page = render_report(
        replace(content, title=hostile, section=section, notes=[hostile], run={hostile: hostile}, pictures=[
            Picture(hostile, png((2, 3)), hostile)
        ])
    )  # fmt: skip
    assert "<b>Sem" not in page
    assert page.count("&lt;b&gt;Sem&lt;/b&gt; &amp; &#34;co&#34;") >= 8


def test_the_answer_comes_first_then_the_warnings(content):
    page = render_report(content)
    places = [page.index(text) for text in ("L/LL", "The mask was ignored.", "61.11", "<img", "How this was made")]
    assert places == sorted(places)
    assert "probability 0.95" in page
    assert "ordinary chondrite" in page


def test_key_numbers_and_facts_are_stated(content):
    page = render_report(content)
    assert "<strong>1.02 mm²</strong><span>of rock mapped, without holes" in page
    assert "mean diameter in the section" not in page  # of 2
    assert "908 × 978 px, 0.908 × 0.978 mm; pixel size 1 µm ± 2 %, from option" in page
    assert '<td class="key">inputs[1].sha256</td><td class="value">abc123</td>' in page
    assert '<td class="key">options.tta</td><td class="value">False</td>' in page
    assert "12.3 s" in page


def test_a_note_of_section_and_classification_is_shown_once(content):
    note = content.classification["notes"][0]
    assert render_report(replace(content, notes=[note])).count(note) == 1


def test_one_chondrule_is_no_plural(content, objects):
    assert "<strong>1</strong><span>chondrule or fragment outlined" in render_report(
        replace(content, chondrules=objects.iloc[:1])
    )


def test_what_channels_share_is_said_once(content):
    page = render_report(replace(content, notes=["Fe: all-zero map", "Network: kept", "S: all-zero map"]))
    assert page.count("all-zero map") == 1
    assert page.index("<li>Fe, S: all-zero map</li>") < page.index("<li>Network: kept</li>")


def test_objects_without_shape_have_dashes_and_long_lists_are_cut(content, objects):
    page = render_report(content)
    assert "<td>fragment</td><td></td>" in page
    assert "– × –" in page
    many = objects.loc[np.repeat(0, 41)].assign(id=range(1, 42))
    assert "The 40 largest of 41" in render_report(replace(content, chondrules=many))


def test_a_section_without_objects_and_group_still_has_a_page(content, objects):
    nothing = {"class": "none", "groups": [], "notes": ["Nothing was measured."]}
    page = render_report(replace(content, chondrules=objects.iloc[:0], classification=nothing, pictures=[]))
    assert "<strong>0</strong><span>chondrules and fragments outlined" in page
    assert "mean diameter" not in page
    assert "no group suggested" in page
    assert page.index("Why no group") < page.index("<li>Nothing was measured.</li>") < page.index("Please note")


def test_writing_replaces_the_page_and_leaves_nothing_else(content, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(path, content)
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_a_bad_classification_leaves_no_file(content, tmp_path):
    with pytest.raises(InputError, match="needs the keys class and groups"):
        write_report(tmp_path / "report.html", replace(content, classification={}))
    assert list(tmp_path.iterdir()) == []


def test_large_pictures_are_brought_within_the_budget_and_small_ones_kept():
    small, large = Picture("s", png((20, 30))), Picture("l", png((400, 500), noise=True), "caption")
    fitted = fit_pictures([large, small], 100_000)
    assert fitted[1] is small
    assert fitted[0].data_uri.startswith("data:image/jpeg;base64,")
    assert (fitted[0].name, fitted[0].caption) == ("l", "caption")
    assert sum(len(picture.png) for picture in fitted) <= 100_000
    width, height = Image.open(io.BytesIO(fitted[0].png)).size
    assert width / height == pytest.approx(500 / 400, rel=0.02)


def test_unequal_pixels_are_named_by_axis():
    facts = SectionFacts("A", (10, 20), (2.0, 1.5), "metadata")
    assert facts.pixel_size_text == "2 × 1.5 µm (rows × columns), from metadata"
    assert facts.extent_text == "10 × 20 px, 0.0200 × 0.0300 mm"


def test_classes_of_pixels_have_no_group_and_their_means_are_shaded(content, modes):
    classes = modes[modes["layer"] == "phases"]
    names = classes.loc[classes["area_pct"].notna(), "name"].tolist()[:2]
    means = pd.DataFrame({"name": names, "area_px": [9, 4], "Fe": [12.34, 250.0], "Mg": [np.nan, 7.0]})
    page = render_report(
        replace(content, classification=None, modes=classes, class_means=means, chondrules=content.chondrules.iloc[:0],
                run={"phases_from": "k-means, 2 clusters"})
    )  # fmt: skip
    assert "Suggested group" not in page
    assert '<div class="answer long">k-means, 2 clusters</div>' in page
    assert '<th class="n">Fe (counts)</th><th class="n">Mg</th>' in page
    cells = re.findall(r"rgba\(47, 95, 147, ([\d.]+)\)\">([^<]+)</td>", page)
    assert cells == [("0.0", "12.3"), ("0.0", "–"), ("0.45", "250"), ("0.0", "7.00")]
    parser = _Resources()
    parser.feed(page)
    assert parser.open == []
