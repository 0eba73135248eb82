"""Whoever asks reaches all workers, and is not kept by one that is dead or stuck."""

import asyncio
import socket
from pathlib import Path

from skep.base.rundir import bind_unix
from skep.wire.mesh import LONGEST, Command, Mesh, MeshAnswer, decode_command, pack, read_frame


class Worker:
    """Answers with a number; `silent` ones do not, `dying` ones close instead."""

    def __init__(self, folder: Path, name: str, count: int = 0, *, dying: bool = False) -> None:
        self.path = folder / f"{name}.sock"
        self.asked: list[Command] = []
        self._count = count
        self._dying = dying

    async def start(self) -> "Worker":
        self._server = await asyncio.start_unix_server(self._serve, sock=bind_unix(self.path))
        return self

    def stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not self._dying:
                self.asked.append(decode_command(await read_frame(reader)))
                writer.write(pack(MeshAnswer(self._count, [{"n": self._count}])))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def test_all_are_asked_and_their_answers_added_up(tmp_path: Path) -> None:
    async def main() -> None:
        workers = [await Worker(tmp_path, f"web.{i}@1.{i}", i + 1).start() for i in range(3)]
        mesh = Mesh(tmp_path)
        answer = await mesh.ask(Command("push", user="ann", text="hello"))
        assert answer.count == 6
        assert [row["n"] for row in answer.rows] == [1, 2, 3]
        assert workers[0].asked == [Command("push", user="ann", text="hello")]
        # One more comes, one goes
        workers.append(await Worker(tmp_path, "web.0@2.9", 10).start())
        workers[0].path.unlink()
        workers[0].stop()
        assert (await mesh.ask(Command("list"))).count == 15
        mesh.close()
        for worker in workers[1:]:
            worker.stop()

    asyncio.run(main())


def test_nobody_there_is_no_error(tmp_path: Path) -> None:
    assert asyncio.run(Mesh(tmp_path).ask(Command("list"))) == MeshAnswer()
    assert asyncio.run(Mesh(tmp_path / "none").ask(Command("list"))) == MeshAnswer()


def test_what_a_killed_worker_has_left_is_cleared_away(tmp_path: Path) -> None:
    with bind_unix(tmp_path / "web.0@1.7.sock"):
        pass

    async def main() -> None:
        mesh = Mesh(tmp_path)
        living = await Worker(tmp_path, "web.1@1.8", 2).start()
        assert (await mesh.ask(Command("list"))).count == 2
        assert not (tmp_path / "web.0@1.7.sock").exists()
        living.stop()
        mesh.close()

    asyncio.run(main())


def test_one_that_dies_while_it_is_asked_counts_as_none(tmp_path: Path) -> None:
    async def main() -> None:
        mesh = Mesh(tmp_path)
        living = await Worker(tmp_path, "web.1@1.8", 2).start()
        dying = await Worker(tmp_path, "web.0@1.7", 5, dying=True).start()
        for _ in range(3):
            assert (await mesh.ask(Command("list"))).count == 2
        mesh.close()
        living.stop()
        dying.stop()

    asyncio.run(main())


def test_a_path_that_is_too_long_for_a_socket_is_reached(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()

    async def main() -> None:
        worker = await Worker(folder, "web.0@1.7", 3).start()
        mesh = Mesh(folder)
        assert (await mesh.ask(Command("list"))).count == 3
        mesh.close()
        worker.stop()

    asyncio.run(main())


def test_a_frame_that_cannot_be_ends_the_connection(tmp_path: Path) -> None:
    async def main() -> None:
        worker = await Worker(tmp_path, "web.0@1.7", 3).start()
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, str(worker.path))
            client.send((LONGEST + 1).to_bytes(4, "big"))
            assert await asyncio.get_running_loop().sock_recv(client, 10) == b""
        worker.stop()

    asyncio.run(main())
