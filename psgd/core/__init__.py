"""What all packages share: errors, random streams, the replica, portable arithmetic. Imports none of them."""
