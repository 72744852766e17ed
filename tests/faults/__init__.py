"""Runs that are killed, or whose disk is full, at chosen moments; and resumed."""
