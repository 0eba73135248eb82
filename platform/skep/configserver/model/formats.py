"""Whether the text of a file namespace is what its format says; checked when it is saved."""

import json
from typing import Any
from xml.etree import ElementTree

import yaml

from skep.configserver.model.names import file_format
from skep.configserver.model.refusals import InvalidRequest

CONTENT = "content"
# libyaml, where it is there, is ten times as fast.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check_content(namespace: str, key: str, value: str) -> None:
    """Raise InvalidRequest, with the line, if the text of a file namespace is not of its format. An
    empty text is one of every format."""
    kind = file_format(namespace)
    fault = _fault(kind, value) if key == CONTENT and value else None
    if fault is not None:
        line, reason = fault
        raise InvalidRequest(f"{namespace}, line {line}: this is not {kind}: {reason}.")


def _fault(kind: str, text: str) -> tuple[int, str] | None:
    """Return the line of the first fault and what it is. YAML is only parsed: a few lines may stand
    for gigabytes."""
    try:
        if kind == "json":
            # Numbers stay text: Python refuses to convert those of more than 4300 digits.
            json.loads(text, parse_int=str)
        elif kind in ("yml", "yaml"):
            for _ in yaml.parse(text, Loader=_LOADER):
                pass
        elif kind == "xml":
            # Expat bounds how far entities may grow.
            ElementTree.fromstring(text)
    except json.JSONDecodeError as error:
        return error.lineno, error.msg
    except RecursionError:
        return 1, "it is nested too deeply"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return (mark.line + 1 if mark else 1), " ".join(str(error.problem).split())
    except yaml.YAMLError as error:
        return 1, " ".join(str(error).split())
    except ElementTree.ParseError as error:
        return error.position[0], str(error).partition(":")[0]
    return None
