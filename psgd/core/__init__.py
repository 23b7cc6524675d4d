"""What every room shares: errors, random streams, the replica, portable arithmetic. Imports no other room."""
