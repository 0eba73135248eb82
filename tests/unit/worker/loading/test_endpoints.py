"""What plugins may declare together is known before anything is bound."""

from skep.api.plugin import Plugin
from skep.api.sockets.handlers import TcpHandler, UdpHandler
from skep.api.sockets.listeners import TcpListener, UdpListener
from skep.config.options.table import Options
from skep.worker.loading.endpoints import endpoints, problems


def tcp(port: int = 0, name: str = "", host: str = "127.0.0.1") -> TcpListener:
    return TcpListener(TcpHandler, port=port, name=name, host=host)


def messages(**plugins: Plugin) -> list[tuple[str, str]]:
    return [(p.plugin, p.message) for p in problems(plugins, Options(port=0, admin_port=5201))]


def test_listeners_are_called_after_their_plugin_and_themselves() -> None:
    plugin = Plugin(sockets=[tcp(), tcp(), tcp(name="lines"), UdpListener(UdpHandler)])
    names = [endpoint.name for endpoint in endpoints({"b": plugin, "a": Plugin(sockets=[tcp()])})]
    assert names == ["a.tcp", "b.tcp", "b.tcp2", "b.lines", "b.udp"]


def test_two_plugins_that_want_one_port_are_both_named() -> None:
    one, two = Plugin(sockets=[tcp(7000)]), Plugin(sockets=[tcp(7000, host="0.0.0.0")])
    ((plugin, message),) = messages(one=one, two=two)
    assert plugin == "two"
    assert "0.0.0.0:7000 (two.tcp)" in message
    assert "plugin one already (one.tcp)" in message


def test_the_platform_s_own_ports_are_no_plugin_s() -> None:
    ((plugin, message),) = messages(one=Plugin(sockets=[tcp(5201)]))
    assert plugin == "one"
    assert "the platform already (admin)" in message


def test_names_are_plain_and_no_two_are_the_same() -> None:
    ((_, message),) = messages(one=Plugin(sockets=[tcp(name="my lines")]))
    assert "'my lines'" in message
    twice = messages(one=Plugin(sockets=[tcp(name="a"), tcp(name="a")]))
    assert {message for _, message in twice} == {
        "Two listeners are called a: name one of them otherwise."
    }


def test_there_is_a_most() -> None:
    many = Plugin(sockets=[tcp() for _ in range(61)])
    assert "there may be 60" in messages(one=many)[0][1]
