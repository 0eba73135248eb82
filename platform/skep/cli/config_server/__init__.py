"""`platform config-server …`: the embedded config server alone, its users and its data."""

from skep.cli.config_server.access import key, token
from skep.cli.config_server.backup import backup
from skep.cli.config_server.people import user
from skep.cli.config_server.serve import config_server
from skep.cli.config_server.transfer import export_samples, import_samples

for command in (token, key, user, backup, export_samples, import_samples):
    config_server.add_command(command)

__all__ = ["config_server"]
