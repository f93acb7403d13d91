"""Studies: questions, the runs that answer them, and a page of answers."""
