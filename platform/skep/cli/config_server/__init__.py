"""`platform config-server …`: the embedded config server alone, who may use it, and its backup."""

from skep.cli.config_server.access import key, token
from skep.cli.config_server.backup import backup
from skep.cli.config_server.people import user
from skep.cli.config_server.policy import policy
from skep.cli.config_server.publish_request import request
from skep.cli.config_server.serve import config_server
from skep.cli.config_server.transfer import export, import_

for command in (token, key, user, policy, request, export, import_, backup):
    config_server.add_command(command)

__all__ = ["config_server"]
