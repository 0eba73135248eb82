"""How workers come to be: nursery, zygote and fork."""
