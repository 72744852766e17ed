"""The optimization: settings, set-up, the loop over sparsity levels, and its outcome."""
