"""The delta rule over time: a matrix that is corrected towards a value under each key."""
