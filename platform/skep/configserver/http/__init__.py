"""What the APIs of the config server share: requests, documents, tokens, refusals."""
