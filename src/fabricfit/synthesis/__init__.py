"""Synthesis: vendors' tools and their reports, and small layers as Verilog for Yosys."""
