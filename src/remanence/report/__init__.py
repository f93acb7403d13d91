"""Tables, plots, one HTML page."""

from remanence.extras import needing

with needing("train", "remanence.report"):
    from remanence.report.page import write
    from remanence.report.runs import Run, load
    from remanence.report.table import Row, as_json, markdown, summarise, table

__all__ = ["Row", "Run", "as_json", "load", "markdown", "summarise", "table", "write"]
