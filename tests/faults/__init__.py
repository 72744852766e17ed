"""Runs that are killed, or whose disk is full, at chosen moments; and what comes of going on with them."""
