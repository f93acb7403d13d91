"""Tables, plots, and an HTML page."""

from remanence.extras import require_extra

with require_extra("train", "remanence.report"):
    from remanence.report.page import write
    from remanence.report.tables import Row, as_json, markdown, summarise, table
    from remanence.runs.reading import Run, load

__all__ = ["Row", "Run", "as_json", "load", "markdown", "summarise", "table", "write"]
