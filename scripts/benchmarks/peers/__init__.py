"""Other programs that do a part of the same work, measured in the same run where installed."""
