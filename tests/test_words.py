"""Words that plain English does without stand in no new text.

Read are the docstrings, comments and string literals of the package, and the pages. A file that
still has such words stands in `STILL` with their number, which may only fall.
"""

import re
import tokenize
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "platform" / "skep"
GENERATED = {"cli.md", "metrics.md", "settings.md"}

# The word, and what to write instead. Only words that are nearly always wrong.
REFUSED = {
    r"nobody|somebody|whoever|whomever": "name the actor",
    r"meanwhile": "at the same time, until then",
    r"anew": "again",
    r"lest": "so that … not",
    r"seldom": "rarely",
    r"of which|of these(?=\s*[,.;:)])": "two sentences",
    r"to be had": "available",
    r"for want of": "without",
    r"as it stands": "unchanged",
    r"put in force": "apply",
    r"belongs? into": "belong in",
    r"takes root": "requires root",
    r"so long(?! as\b)": "this long",
    r"told(?! apart\b| from\b)|tells? (?:of|what|that|whether|how|whom?)": "notify, report",
    r"hears?|heard": "receive",
    r"(?<!there )(?:is|are) no (?!longer\b|such\b|more\b|less\b|other\b|\w+er\b)\w+": "is not a",
}
PATTERNS = [re.compile(rf"\b(?:{words})\b", re.I) for words in REFUSED]

STILL: dict[str, int] = {
    "CHANGELOG.md": 10,
    "platform/skep/agent/agent.py": 1,
    "platform/skep/agent/brake.py": 1,
    "platform/skep/agent/code_watch.py": 1,
    "platform/skep/agent/config_sync.py": 10,
    "platform/skep/agent/console/app.py": 1,
    "platform/skep/agent/console/scrape.py": 3,
    "platform/skep/api/tasks/context.py": 1,
    "platform/skep/api/cron.py": 4,
    "platform/skep/api/tasks/decorators.py": 1,
    "platform/skep/api/hooks.py": 2,
    "platform/skep/api/tasks/platform_events.py": 2,
    "platform/skep/api/tasks/policy.py": 1,
    "platform/skep/api/sockets/push.py": 2,
    "platform/skep/api/tasks/receipt.py": 2,
    "platform/skep/api/checks/requirements.py": 1,
    "platform/skep/api/tasks/task.py": 1,
    "platform/skep/base/logs/correlation.py": 3,
    "platform/skep/base/sockets/endpoint.py": 1,
    "platform/skep/base/errors.py": 2,
    "platform/skep/base/files/filelock.py": 1,
    "platform/skep/base/files/fingerprint.py": 2,
    "platform/skep/base/system/linux.py": 1,
    "platform/skep/base/logs/log.py": 3,
    "platform/skep/base/logs/logfile.py": 3,
    "platform/skep/base/files/ownership.py": 1,
    "platform/skep/base/sockets/peer.py": 1,
    "platform/skep/base/rundir.py": 2,
    "platform/skep/base/sockets/listening.py": 3,
    "platform/skep/base/system/stacks.py": 1,
    "platform/skep/base/streams.py": 1,
    "platform/skep/config/apollo/access_key.py": 1,
    "platform/skep/config/apollo/answers.py": 1,
    "platform/skep/config/apollo/client.py": 4,
    "platform/skep/config/apollo/failover.py": 5,
    "platform/skep/config/apollo/interface.py": 1,
    "platform/skep/config/apollo/notifications.py": 10,
    "platform/skep/config/apollo/openapi.py": 3,
    "platform/skep/config/apollo/server.py": 1,
    "platform/skep/config/apollo/signing.py": 2,
    "platform/skep/config/apollo/trust.py": 1,
    "platform/skep/config/env/atomic.py": 2,
    "platform/skep/config/env/dotenv.py": 10,
    "platform/skep/config/env/epoch.py": 1,
    "platform/skep/config/env/export.py": 1,
    "platform/skep/config/env/settings.py": 1,
    "platform/skep/config/errors.py": 1,
    "platform/skep/config/options/queues.py": 1,
    "platform/skep/config/options/sources.py": 1,
    "platform/skep/config/options/table.py": 5,
    "platform/skep/config/snapshots/archive.py": 2,
    "platform/skep/config/snapshots/cache.py": 1,
    "platform/skep/config/snapshots/documents.py": 1,
    "platform/skep/config/snapshots/history.py": 1,
    "platform/skep/config/snapshots/shrinkage.py": 1,
    "platform/skep/config/snapshots/start_source.py": 1,
    "platform/skep/configserver/app.py": 1,
    "platform/skep/configserver/credentials.py": 3,
    "platform/skep/configserver/editor.py": 1,
    "platform/skep/configserver/names.py": 1,
    "platform/skep/configserver/open_api.py": 1,
    "platform/skep/configserver/pull_api.py": 3,
    "platform/skep/configserver/records.py": 1,
    "platform/skep/configserver/refusals.py": 1,
    "platform/skep/configserver/schema.py": 1,
    "platform/skep/configserver/seed.py": 2,
    "platform/skep/configserver/server.py": 1,
    "platform/skep/configserver/store.py": 1,
    "platform/skep/configserver/watchers.py": 2,
    "platform/skep/engine/base.py": 1,
    "platform/skep/engine/ids.py": 1,
    "platform/skep/metrics/names.py": 1,
    "platform/skep/store/file/wal.py": 1,
    "platform/skep/supervisor/alarm.py": 2,
    "platform/skep/supervisor/condition.py": 4,
    "platform/skep/supervisor/config/check_command.py": 4,
    "platform/skep/supervisor/config/configuration.py": 3,
    "platform/skep/supervisor/config/in_force.py": 1,
    "platform/skep/supervisor/config/propagation.py": 3,
    "platform/skep/supervisor/control/audit.py": 1,
    "platform/skep/supervisor/control/commands.py": 2,
    "platform/skep/supervisor/control/inspection.py": 2,
    "platform/skep/supervisor/control/logs.py": 1,
    "platform/skep/supervisor/control/records.py": 2,
    "platform/skep/supervisor/control/reload_tasks.py": 3,
    "platform/skep/supervisor/control/restart.py": 2,
    "platform/skep/supervisor/control/scaling.py": 2,
    "platform/skep/supervisor/control/send_task.py": 1,
    "platform/skep/supervisor/control/server.py": 6,
    "platform/skep/supervisor/generation.py": 1,
    "platform/skep/supervisor/metrics/frame.py": 3,
    "platform/skep/supervisor/metrics/gauges.py": 1,
    "platform/skep/supervisor/metrics/memory.py": 4,
    "platform/skep/supervisor/metrics/scrape.py": 2,
    "platform/skep/supervisor/observers/certificates.py": 4,
    "platform/skep/supervisor/observers/hooks.py": 1,
    "platform/skep/supervisor/observers/log_and_count.py": 1,
    "platform/skep/supervisor/observers/platform_events.py": 4,
    "platform/skep/supervisor/observers/service_manager.py": 4,
    "platform/skep/supervisor/outcomes.py": 1,
    "platform/skep/supervisor/processes/census.py": 1,
    "platform/skep/supervisor/processes/child.py": 3,
    "platform/skep/supervisor/processes/children.py": 1,
    "platform/skep/supervisor/processes/crew.py": 6,
    "platform/skep/supervisor/processes/exit_reason.py": 1,
    "platform/skep/supervisor/processes/nursery.py": 3,
    "platform/skep/supervisor/processes/orphans.py": 2,
    "platform/skep/supervisor/processes/procfs.py": 2,
    "platform/skep/supervisor/processes/slot.py": 1,
    "platform/skep/supervisor/processes/zygote.py": 3,
    "platform/skep/supervisor/report.py": 1,
    "platform/skep/supervisor/rollout/changes.py": 1,
    "platform/skep/supervisor/rollout/execution.py": 1,
    "platform/skep/supervisor/rollout/gate.py": 5,
    "platform/skep/supervisor/rollout/generations.py": 3,
    "platform/skep/supervisor/rollout/hearing.py": 2,
    "platform/skep/supervisor/rollout/live_change.py": 6,
    "platform/skep/supervisor/rollout/machine.py": 3,
    "platform/skep/supervisor/rollout/probation.py": 2,
    "platform/skep/supervisor/rollout/rollouts.py": 5,
    "platform/skep/supervisor/rollout/surroundings.py": 2,
    "platform/skep/supervisor/scaling/recycling.py": 2,
    "platform/skep/supervisor/scaling/scaler.py": 7,
    "platform/skep/supervisor/sockets/inheritance.py": 2,
    "platform/skep/supervisor/sockets/listeners.py": 3,
    "platform/skep/supervisor/sockets/ports.py": 4,
    "platform/skep/supervisor/stop.py": 1,
    "platform/skep/supervisor/supervisor.py": 1,
    "platform/skep/wire/channel.py": 1,
    "platform/skep/wire/message_buffer.py": 1,
    "platform/skep/wire/mesh.py": 2,
    "platform/skep/wire/messages.py": 1,
    "platform/skep/worker/__main__.py": 1,
    "platform/skep/worker/birth/forker.py": 1,
    "platform/skep/worker/birth/nursery.py": 1,
    "platform/skep/worker/birth/zygote.py": 2,
    "platform/skep/worker/calling.py": 1,
    "platform/skep/worker/cron/ticker.py": 1,
    "platform/skep/worker/http/coalesced_writes.py": 1,
    "platform/skep/worker/http/handshake.py": 2,
    "platform/skep/worker/http/limits.py": 1,
    "platform/skep/worker/http/middleware.py": 3,
    "platform/skep/worker/http/protocol.py": 4,
    "platform/skep/worker/http/wrapping.py": 1,
    "platform/skep/worker/kind.py": 3,
    "platform/skep/worker/kinds/cron.py": 4,
    "platform/skep/worker/kinds/tasks.py": 1,
    "platform/skep/worker/kinds/web.py": 1,
    "platform/skep/worker/loading/changes.py": 1,
    "platform/skep/worker/loading/checks.py": 1,
    "platform/skep/worker/loading/endpoints.py": 1,
    "platform/skep/worker/loading/lifespans.py": 1,
    "platform/skep/worker/loading/loader.py": 2,
    "platform/skep/worker/loading/project.py": 1,
    "platform/skep/worker/loading/tls.py": 1,
    "platform/skep/worker/sockets/handshakes.py": 3,
    "platform/skep/worker/sockets/listening.py": 2,
    "platform/skep/worker/sockets/tcp.py": 2,
    "platform/skep/worker/sockets/udp.py": 2,
    "platform/skep/worker/tasks/deliver.py": 1,
    "platform/skep/worker/tasks/judge.py": 2,
    "platform/skep/worker/tasks/progress.py": 1,
    "platform/skep/worker/tasks/queue_watch.py": 1,
    "platform/skep/worker/tasks/runner.py": 3,
    "platform/skep/worker/tasks/settler.py": 1,
    "platform/skep/worker/tasks/steps.py": 2,
    "platform/skep/worker/upkeep/memory.py": 1,
    "platform/skep/worker/upkeep/retirement.py": 2,
    "platform/skep/worker/websocket/connection.py": 5,
    "platform/skep/worker/websocket/origins.py": 1,
    "platform/skep/worker/websocket/registry.py": 1,
}


def prose(path: Path) -> str:
    """The docstrings, comments and strings of a module; what continues is one text."""
    parts: list[str] = []
    last = 0
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            name = tokenize.tok_name[token.type]
            if name in ("NL", "INDENT", "DEDENT", "FSTRING_START", "FSTRING_END"):
                continue
            if name in ("COMMENT", "STRING", "FSTRING_MIDDLE"):
                parts.append(token.string.strip("#\"'"))
                last = token.end[0]
            elif token.end[0] > last:
                parts.append("\n\n")
    return "".join(part if part == "\n\n" else f" {part} " for part in parts)


def page(path: Path) -> str:
    """The text of a page, without code."""
    return re.sub(r"```.*?```|`[^`\n]*`", "¶", path.read_text(), flags=re.S)


def refused(text: str) -> list[str]:
    text = "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
    return [found[0] for pattern in PATTERNS for found in pattern.finditer(text)]


def texts() -> dict[str, str]:
    modules = {path: prose(path) for path in SOURCE.rglob("*.py")}
    pages = {
        path: page(path)
        for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
        if path.name not in GENERATED
    }
    return {
        path.relative_to(ROOT).as_posix(): text
        for path, text in sorted({**modules, **pages}.items())
    }


def test_words_that_readers_must_read_twice_only_become_fewer() -> None:
    found = {name: words for name, text in texts().items() if (words := refused(text))}
    wrong = [
        f"{name}: {STILL.get(name, 0)} in the table, not {len(words)}: {', '.join(words)}"
        for name, words in found.items()
        if len(words) != STILL.get(name, 0)
    ]
    wrong += [f"{name}: take it out of the table" for name in STILL if name not in found]
    assert wrong == [], "\n".join(wrong)


def test_the_words_are_found_and_what_resembles_them_is_not() -> None:
    for text in ("Whoever asks.", "It is no file.", "The agent is told.", "of\nwhich two"):
        assert refused(text), text
    for text in ("There is no file.", "It is no longer there.", "They are told apart.", "Blest."):
        assert not refused(text), text
