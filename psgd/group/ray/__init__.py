"""The group on a Ray cluster: actors that run workers, the coordinator of their exchanges, and the transport."""
