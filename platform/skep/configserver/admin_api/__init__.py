"""What Apollo keeps in its AdminService: reads of all that editors see, and access keys."""
