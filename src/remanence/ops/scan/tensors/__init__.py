"""Steps on tensors of any shape: pointwise operations, matrix products, reductions and changes of layout."""
