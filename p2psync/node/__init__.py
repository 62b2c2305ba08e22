"""The node: joins the engine to the disk, the network and the local API in one nursery."""
