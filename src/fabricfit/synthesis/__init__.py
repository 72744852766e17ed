"""Reports of vendors' synthesis tools, running the tools, and small layers as Verilog for Yosys."""
