"""Plain reference implementations in NumPy: slow, in memory, written from the papers and from nothing in nmfkit."""
