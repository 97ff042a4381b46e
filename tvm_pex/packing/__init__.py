"""Where each buffer lies: quick placements, the exact search, and an independent validator. Pure integers."""
