"""Where deliveries wait: the contract and its drivers."""
