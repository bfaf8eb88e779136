import itertools
import xml.etree.ElementTree as ET

import pytest

from gim_cv.charts import Axis, Dot, Point, Series, dot_chart, line_chart

UNIT = Axis("share", 0, 1)


def parsed(chart):
    return ET.fromstring(chart)  # noqa: S314  (our own text)


def test_ticks_are_round_and_within():
    assert Axis("", 0, 1).ticks() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert Axis("", 0, 39).ticks() == pytest.approx([0, 10, 20, 30])
    assert Axis("", 0.1, 0.9).ticks()[0] == pytest.approx(0.2)


def test_a_line_runs_from_corner_to_corner():
    root = parsed(line_chart([Series("a", [(0, 0), (1, 1)])], UNIT, UNIT))
    (line,) = root.findall("polyline")
    assert line.get("points") == "46.0,230.0 368.0,14.0"


def test_values_that_are_not_finite_are_left_out_and_far_ones_cut():
    points = [(0, 0), (0.5, float("nan")), (1, 7)]
    root = parsed(line_chart([Series("a", points), Series("b", [])], UNIT, UNIT))
    (line,) = root.findall("polyline")
    assert line.get("points") == "46.0,230.0 368.0,14.0"


def test_names_at_the_ends_do_not_overlap():
    series = [Series(name, [(0, 0), (1, 0.5)]) for name in ("a", "b", "c")]
    root = parsed(line_chart(series, UNIT, UNIT))
    heights = [
        float(text.get("y")) for text in root.findall("text") if text.text in {"a", "b", "c"}
    ]
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 15


def test_text_is_escaped():
    chart = line_chart([Series("<b>", [(0, 0)])], UNIT, UNIT, points=[Point("<i>&", 0.5, 0.5)])
    assert "<b>" not in chart
    assert "<i>" not in chart
    assert parsed(chart).get("aria-label").endswith("<b>")


def test_a_dot_chart_has_a_row_for_each_value_and_whiskers_where_known():
    rows = [Dot("model", 0.5, 0.4, 0.6), Dot("flat", 0.1), Dot("none", None)]
    root = parsed(dot_chart(rows, title="t"))
    assert len(root.findall("circle")) == 2
    assert len([line for line in root.findall("line") if "whisker" in line.get("class")]) == 1
    assert {"model", "flat", "none", "0.500", "0.100"} <= {t.text for t in root.findall("text")}
