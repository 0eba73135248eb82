"""What the pages of the platform share: accounts, sessions, forms, layout, style and script."""
