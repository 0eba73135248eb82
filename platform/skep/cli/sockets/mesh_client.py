"""Ask the web workers of the running platform about their connections."""

import asyncio

from skep.cli.platform_handle import PlatformHandle
from skep.wire.mesh import Command, Mesh, MeshAnswer


def ask_mesh(platform: PlatformHandle, question: Command) -> MeshAnswer:
    """Ask all web workers; return what they answer together. Raises NotRunning."""
    platform.ask("ready")  # waits for a platform that is starting

    async def ask() -> MeshAnswer:
        mesh = Mesh(platform.run_dir.mesh_dir)
        try:
            return await mesh.ask(question)
        finally:
            mesh.close()

    return asyncio.run(ask())
