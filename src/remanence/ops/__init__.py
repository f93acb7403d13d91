"""Operations over whole sequences, each with a plain reference beside its kernels; :mod:`dispatch` chooses."""
