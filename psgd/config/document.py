"""Strict YAML: a key given twice is an error, and plain scalars mean what YAML 1.2 says.

PyYAML follows YAML 1.1, in which `1e-3` is text, `010` is eight and `on` is true; only its parser is used here.
"""

import math
import re
from typing import Any, final

import yaml

from psgd.core.errors import UsageError

_NULL, _BOOL = "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool"
_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_TEXT, _LIST, _MAP = "tag:yaml.org,2002:str", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"

# YAML 1.2.2, section 10.3.2 (core schema): the pattern of each tag.
_PATTERNS = {
    _NULL: re.compile(r"(?:~|null|Null|NULL|)\Z"),
    _BOOL: re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"),
    _INT: re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"),
    _FLOAT: re.compile(
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
    ),
}


MOST_VALUES = 100_000  # in one document


class NotYaml(Exception):
    """Text is not strict YAML. `problems` lists all reasons as (line, message)."""

    def __init__(self, problems: list[tuple[int, str]]) -> None:
        super().__init__(problems)
        self.problems = problems


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


class _Dumper(yaml.SafeDumper):
    """Knows the patterns of YAML 1.1 and 1.2, and so quotes text that either version would not read back as text."""

    def ignore_aliases(self, data: object) -> bool:
        return True


for _tag, _pattern in _PATTERNS.items():
    _Loader.add_implicit_resolver(_tag, _pattern, None)
    _Dumper.add_implicit_resolver(_tag, _pattern, None)
_Dumper.add_representer(list, lambda dumper, data: dumper.represent_sequence(_LIST, data, flow_style=True))


def read_file(path: str) -> dict[str, Any]:
    """Read the mapping in a YAML file, {} if it is empty. Raises UsageError, which names the file and the lines."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text (byte {error.start}); a config is a YAML file") from None
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{path}: cannot read this config: {reason}; name a YAML file that can be read") from None
    except ValueError:  # a null character in the name
        raise UsageError(f"{path!r} cannot be the name of a config") from None
    try:
        value = parse_yaml(text)
    except NotYaml as error:
        raise UsageError("\n".join(f"{path}:{line}: {what}" for line, what in error.problems)) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UsageError(f"{path}: the top level must be a mapping such as `workers: 4`, not {text.strip()[:40]!r}")
    return value


def parse_yaml(text: str) -> object:
    """Parse one YAML document, None if it is empty. Raises NotYaml."""
    builder = _Builder()
    try:
        node = yaml.compose(text, Loader=_Loader)
        value = None if node is None else builder.value(node, "")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        what += "; indent with spaces, not with tabs" if r"'\t'" in what else ""
        raise NotYaml([(mark.line + 1 if mark else 1, f"not valid YAML: {what}")]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise NotYaml([(line, f"not valid YAML: a character that is not allowed ({error.reason})")]) from None
    except RecursionError:
        raise NotYaml([(1, "nested too deeply, or an alias that contains itself")]) from None
    if builder.problems:
        raise NotYaml(builder.problems)
    return value


def to_yaml(value: object) -> str:
    """Write YAML that `parse_yaml` reads back to the same value: mappings as blocks, each list on one line."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=120
    )
    return text


def to_yaml_line(value: object) -> str:
    """Write a value as YAML on one line, however long it is."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=True, width=math.inf
    )
    return text.strip().removesuffix("\n...")


@final
class _Builder:
    """Turns nodes into values, and collects what is wrong with them in `problems`."""

    def __init__(self) -> None:
        self.problems: list[tuple[int, str]] = []
        self._count = 0

    def value(self, node: yaml.Node, path: str) -> object:
        """Return the value of a node. `path` is its full name in messages. NotYaml if there are too many values."""
        line = node.start_mark.line + 1
        self._count += 1  # each alias counts what it repeats
        if self._count > MOST_VALUES:
            raise NotYaml([(line, f"more than {MOST_VALUES:,} values (an alias counts what it repeats)")])
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _LIST:
            return [self.value(item, f"{path}[{place}]") for place, item in enumerate(node.value)]
        if not isinstance(node, yaml.ScalarNode) or (node.tag != _TEXT and node.tag not in _PATTERNS):
            self.problems.append((line, f"the tag {node.tag} cannot be used here; leave it out"))
            return None
        text = node.value
        if node.tag == _TEXT:
            if not is_text(text):
                self.problems.append((line, f"{text[:40]!r} has half of a surrogate pair, which is no character"))
            return text
        # Scalars with an explicit tag (`!!int 5`) have not been matched with the pattern of the tag yet.
        if not _PATTERNS[node.tag].match(text) or len(text) > 1000:
            self.problems.append((line, f"{text[:40]!r} is not a value of the tag {node.tag.rpartition(':')[2]}"))
            return None
        if node.tag == _INT:
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        if node.tag == _FLOAT:
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        return text.lower() == "true" if node.tag == _BOOL else None

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Any]:
        result: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = self.value(key_node, path)
            if not isinstance(key, str):
                self.problems.append((line, f"the key {key!r} is not text; a setting's name is"))
                continue
            name = f"{path}.{key}" if path else key
            if key in result:
                self.problems.append((line, f"{name} is given twice (first in line {lines[key]}); keep one"))
                continue
            result[key], lines[key] = self.value(value_node, name), line
        return result


def is_text(text: str) -> bool:
    """Whether UTF-8 can express `text`: arguments of a command, which may be any bytes, need not be text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
