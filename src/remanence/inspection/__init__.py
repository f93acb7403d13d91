"""A report card of a recurrent memory: how long it remembers, how its state moves, and why it stops."""

from remanence.extras import require_extra

with require_extra("train", "remanence.inspection"):
    from remanence.inspection.card import LINES, Card, Line, inspect
    from remanence.inspection.card_page import write
    from remanence.inspection.checkpoint_subjects import subjects_of_checkpoint
    from remanence.inspection.finding import Finding
    from remanence.inspection.run_subjects import subjects_of_run
    from remanence.inspection.subject import Subject
    from remanence.inspection.terminal import as_json, table
    from remanence.inspection.user_module import subject_of_module

__all__ = [
    "LINES",
    "Card",
    "Finding",
    "Line",
    "Subject",
    "as_json",
    "inspect",
    "subject_of_module",
    "subjects_of_checkpoint",
    "subjects_of_run",
    "table",
    "write",
]
