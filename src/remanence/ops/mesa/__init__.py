"""Ridge regression over time: the linear map from keys to values that fits all steps so far best."""
