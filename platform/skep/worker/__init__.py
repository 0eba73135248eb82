"""Every child of a generation: the zygote and what it forks. Started, never imported by others."""
