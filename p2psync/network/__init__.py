"""The wire: authenticated links between devices, and discovery on the LAN."""
