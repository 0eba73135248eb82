"""What the store keeps, as rows, and the transactions that change it."""
