"""Print what apollocfg sees of each namespace, at first and after each change."""

import json
import os
import threading

from apollocfg import ApolloClient

NAMESPACES = os.environ["NAMESPACES"].split(",")

client = ApolloClient(
    os.environ["APP_ID"],
    meta_server=os.environ["SERVER"],
    cluster=os.environ["CLUSTER"],
    namespaces=NAMESPACES,
    access_key_secret=os.environ["SECRET"] or None,
    poll_interval=0.2,
)


def show(namespace: str, changes: object = None) -> None:
    """Print one namespace."""
    values = client.get_configs(namespace)
    print(json.dumps({"namespace": namespace, "values": values}), flush=True)


client.register_callback(show)
client.start()
for namespace in NAMESPACES:
    show(namespace)
threading.Event().wait()
