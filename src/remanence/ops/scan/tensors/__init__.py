"""Steps on tensors of any shape: matrix products, reductions and changes of layout beside what is pointwise."""
