"""The commands; they talk to the API of the running node."""
