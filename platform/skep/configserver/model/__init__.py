"""What the config server deals with: names, items, releases, rules, rights; pure."""
