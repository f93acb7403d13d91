"""From source text to machine code: compilers, their cache, threads, buffers, and elementary functions."""
