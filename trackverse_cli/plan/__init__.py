"""What is left to do, what it takes, and in which order: offline, for `trackverse plan`.

`make_plan` joins it: `survey` looks at index, ledger and folders, `rates` says what a second
costs, `forecast` does the arithmetic, `times` and `waits` how long it takes and what troubles add,
`reach` how far a part of it goes, `coverage` and `order` in which order videos are asked for.
Docs: `docs/plan.md`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trackverse_cli.plan.coverage import coverage_order, worth_of
from trackverse_cli.plan.forecast import Plan, make_forecast
from trackverse_cli.plan.order import (
    Order,
    catalog_order,
    keep_order,
    kept_order,
    rank_order,
    videos_in_order,
)
from trackverse_cli.plan.rates import Rates, rates_of
from trackverse_cli.plan.report import to_json
from trackverse_cli.plan.survey import Survey, take_survey
from trackverse_cli.plan.terms import PlanTerms, terms_of
from trackverse_cli.plan.trouble import Given, Trouble

if TYPE_CHECKING:
    from trackverse_cli.catalog import Catalog
    from trackverse_cli.config import Config

__all__ = [
    "Given",
    "Order",
    "Plan",
    "PlanTerms",
    "Rates",
    "Survey",
    "Trouble",
    "catalog_order",
    "coverage_order",
    "make_forecast",
    "make_plan",
    "rank_order",
    "rates_of",
    "take_survey",
    "terms_of",
    "to_json",
    "videos_in_order",
    "worth_of",
]


def make_plan(config: Config, catalog: Catalog, terms: PlanTerms) -> Plan:
    """Return what is left of a catalogue and what it takes; nobody is asked.

    Raises:
        UsageError: no dataset folder, or an index that cannot be used.
        OSError: the ledger cannot be read.
    """
    from trackverse_cli.ledger import read_ledger
    from trackverse_cli.recipe import recipe_id

    layout, settings = config.layout, config.settings
    found = take_survey(
        catalog,
        layout,
        read_ledger(layout),
        recipe_id(settings),
        settings.extract.max_clip_seconds,
        frozenset(settings.download.retry),
    )
    order = kept_order(catalog, layout)
    if order is None:
        rows, classes = found.rows.astype(np.int64), found.classes.astype(np.int64)
        order = keep_order(catalog, layout, rows, classes)
    return make_forecast(found, catalog.costs, rates_of(found, terms.line), terms, order)
