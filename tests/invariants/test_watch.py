"""The dashboard, the alert rules and the docs name the metrics that exist, with their labels."""

import json
import re
from typing import Any

import pytest
import yaml
from django.conf import settings
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import CounterMetricFamily

from promptops.platform import metrics

DEPLOY = settings.BASE_DIR / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "promptops.json").read_text())
RULES = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
EVERYWHERE = {"le", "instance", "job"}


def declared() -> dict[str, tuple[str, tuple[str, ...], str]]:
    """Return the type, the labels and the sentence of each metric of PromptOps, by name."""
    found = {}
    for each in metrics.registry._collector_to_names:
        if isinstance(each, MetricWrapperBase):
            suffix = "_total" if each._type == "counter" else ""
            found[each._name + suffix] = (each._type, tuple(each._labelnames), each._documentation)
        elif isinstance(each, metrics.Read):
            kind = "counter" if each._family is CounterMetricFamily else "gauge"
            found[each._name] = (kind, each._labels, each._about)
    return found


METRICS = declared()


def expressions() -> list[str]:
    """Return the queries of the panels, their variables and annotations, and of the alert rules."""
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    others = [each["expr"] for each in DASHBOARD["annotations"]["list"]]
    others += [each["definition"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    return panels + others + [rule["expr"] for rule in RULES]


def metric_of(name: str) -> str:
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    return base if METRICS.get(base, ("",))[0] == "histogram" else name


def test_every_metric_is_exported_and_has_its_row_in_the_docs() -> None:
    families = {family.name for family in metrics.registry.collect() if family.name.startswith("promptops_")}
    assert families == {name.removesuffix("_total") for name in METRICS}
    rows = [
        f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {about} |".replace("|  |", "| |")
        for name, (kind, labels, about) in METRICS.items()
    ]
    text = (settings.BASE_DIR / "docs" / "watch.md").read_text()
    assert [row for row in rows if row not in text.splitlines()] == []
    assert set(re.findall(r"^\| `(promptops_\w+)`", text, re.MULTILINE)) == set(METRICS)


def test_every_name_ends_with_its_unit() -> None:
    units = {"gauge": ("_seconds", "_runs", "_info", ""), "histogram": ("_seconds",), "counter": ("_total",)}
    assert [name for name, (kind, *_) in METRICS.items() if not name.endswith(units[kind])] == []


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_a_query_names_metrics_and_labels_that_exist(expression: str) -> None:
    named = {metric_of(name) for name in re.findall(r"\bpromptops_\w+", expression)}
    assert named <= METRICS.keys()
    labels = EVERYWHERE.union(*(METRICS[name][1] for name in named))
    asked = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=(?!=))\s*\"", expression))
    asked |= {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
    assert asked <= labels
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing)


def test_the_dashboard_shows_every_metric() -> None:
    shown = {metric_of(name) for name in re.findall(r"\bpromptops_\w+", json.dumps(DASHBOARD))}
    apart = {"promptops_live_epoch_info", "promptops_leases_held", "promptops_acknowledgements_dropped_total"}
    assert METRICS.keys() - shown == apart


def test_no_panel_covers_another() -> None:
    cells: dict[tuple[int, int], Any] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert cells.setdefault((x, y), panel["id"]) == panel["id"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_happened_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    for name in ("summary", "description"):
        assert rule["annotations"][name].endswith(".")
    aggregated = re.findall(r"by \(([^)]*)\)", rule["expr"])
    for label in re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])):
        named = {metric_of(name) for name in re.findall(r"\bpromptops_\w+", rule["expr"])}
        known = (
            {each.strip() for each in aggregated[0].split(",")}
            if aggregated
            else EVERYWHERE.union(*(METRICS[name][1] for name in named))
        )
        assert label in known
