"""Programs that run the product's own parts in a process of their own; each prints JSON lines."""
