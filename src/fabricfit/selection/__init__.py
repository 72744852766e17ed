"""Selection of the groups that stay, at a sparsity or within a budget."""
