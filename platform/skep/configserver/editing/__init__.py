"""What people and scripts do: each act is one transaction, checked, recorded and announced."""
