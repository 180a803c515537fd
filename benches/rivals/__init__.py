"""What ours is measured against, beside the libraries themselves: the usual pipelines, and peers of the core in C."""
