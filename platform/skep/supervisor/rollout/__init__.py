"""From one generation to the next: the decision, the way there, and the way back."""
