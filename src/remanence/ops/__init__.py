"""Operations over whole sequences, each with a plain reference and kernels; :mod:`dispatch` chooses between them."""
