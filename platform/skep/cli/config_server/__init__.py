"""`platform config-server …`: the embedded config server alone, who may use it, and its backup."""

from skep.cli.config_server.serve import config_server

__all__ = ["config_server"]
