"""Tables, plots, one HTML page."""

from remanence.extras import needing

with needing("train", "remanence.report"):
    from remanence.report.page import write
    from remanence.report.tables import Row, as_json, markdown, summarise, table
    from remanence.runs.reading import Run, load

__all__ = ["Row", "Run", "as_json", "load", "markdown", "summarise", "table", "write"]
