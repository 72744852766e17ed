"""Code that one would run in the place of fabricfit, each written in the way that is usual for it."""
