"""Fast weights over time."""
