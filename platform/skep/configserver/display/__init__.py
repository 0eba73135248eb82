"""How values, texts and differences are shown, without any I/O."""
