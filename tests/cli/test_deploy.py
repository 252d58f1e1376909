"""Alert rules and dashboard speak of metrics that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from guildstream import metrics

DEPLOY = Path(__file__).parent.parent.parent / "deploy"


def known_names() -> set[str]:
    assert metrics.__name__
    names: set[str] = set()
    for family in REGISTRY.collect():
        suffix = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(family.type, [""])
        names |= {family.name + ending for ending in suffix}
    return names


@pytest.mark.parametrize("name", ["prometheus-rules.yaml", "grafana-dashboard.json"])
def test_only_metrics_that_exist_are_asked_for(name: str) -> None:
    asked = set(re.findall(r"\bguildstream_\w+", (DEPLOY / name).read_text()))
    assert asked
    assert not asked - known_names()


def test_the_dashboard_has_a_place_for_each_panel() -> None:
    panels = json.loads((DEPLOY / "grafana-dashboard.json").read_text())["panels"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(panels)
