"""`verify --report`: one page that says whether a dataset is complete, and shows what was cut.

The page stands alone: no script, no network, styles within it, pictures as data URIs, and a
policy in its head that forbids everything else. What comes from metadata is text, never markup.
"""

from __future__ import annotations

from trackverse_cli.report.collect import Collector
from trackverse_cli.report.make import write_report
from trackverse_cli.report.target import report_target

__all__ = ["Collector", "report_target", "write_report"]
