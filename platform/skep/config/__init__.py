"""Configuration: releases, snapshots, the .env file, the layers of the environment."""
