"""The client that the platform's settings ask for."""

from skep.base.telemetry import Telemetry
from skep.config.apollo.access_key import AccessKey
from skep.config.apollo.client import Apollo
from skep.config.apollo.failover import Servers
from skep.config.apollo.server import Terms
from skep.config.options.table import Options


def apollo(options: Options, telemetry: Telemetry | None = None) -> Apollo:
    """Return a client of the config service; nothing is opened before its first request.

    Raises UsageError if an address or the namespaces make no sense.
    """
    key = AccessKey(options.app_id, options.config_secret, options.config_secret_file)
    terms = Terms(key=key, ip=options.config_ip, ca=options.config_ca)
    return Apollo(
        Servers(options.config_server, options.config_meta, terms=terms),
        options.app_id,
        options.cluster,
        options.namespace,
        data_center=options.data_center,
        label=options.config_label,
        optional=options.config_policy == "optional",
        telemetry=telemetry,
    )
