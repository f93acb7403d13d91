"""The ``remanence`` command: a file for each part of it; ``app`` joins them."""
