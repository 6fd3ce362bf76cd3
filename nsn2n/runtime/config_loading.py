# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Self-describing dataclass fields, and the conversion of plain values from YAML or JSON to such dataclasses.

A field created by :func:`option` carries its help, unit and bounds. Checks, command-line options and the tables of the
documentation all read them from there.
"""

from __future__ import annotations

import collections.abc
import difflib
import enum
import functools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from nsn2n.errors import SettingsError

__all__ = [
    "Option",
    "beginning",
    "check_bounds",
    "check_depth",
    "known_key",
    "option",
    "option_of",
    "read_short_text",
    "read_yaml",
    "shown",
    "updated_from",
]

_Settings = TypeVar("_Settings")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """The description of a field."""

    help: str
    """One or more sentences for a user."""
    unit: str = ""
    """Unit of a number: px, sd, s, slices; empty if it has none."""
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    choices: tuple[str | int, ...] = ()
    """The only values that are allowed; empty: any."""
    group: str = ""
    """Heading under which ``nsn2n denoise --help`` and the documentation list it."""
    flag: str = ""
    """Name on the command line, such as ``--compress``; empty: not an option of the command line."""
    metavar: str | None = None
    """Placeholder of the value in the help."""
    in_app_yaml: bool = True
    """Whether it is a key of ``app.yaml``."""
    inputs: tuple[str, ...] = ("DICOM", "volume files")
    """Kinds of input to which it applies."""

    @property
    def bounds(self) -> str:
        """The bounds as text: ``>= 0``, ``in 0..1``, ``in (0, 64]``; empty if there are none."""
        low = self.at_least if self.above is None else self.above
        high = self.at_most if self.below is None else self.below
        if low is None and high is None:
            return ""
        if high is None:
            return f"{'>=' if self.above is None else '>'} {low:g}"
        if low is None:
            return f"{'<=' if self.below is None else '<'} {high:g}"
        if self.above is None and self.below is None:
            return f"in {low:.16g}..{high:.16g}"
        return f"in {'[' if self.above is None else '('}{low:g}, {high:g}{']' if self.below is None else ')'}"

    def allows(self, value: float) -> bool:
        """Whether a number is within the bounds."""
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )


def option(
    default: Any = MISSING, help: str = "", *, default_factory: Callable[[], Any] | None = None, **more: Any
) -> Any:
    """Return a dataclass field that carries an :class:`Option`; further keywords are those of its fields."""
    metadata = {"option": Option(help=help, **more)}
    if default_factory is not None:
        return field(default_factory=default_factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def option_of(entry: Field[Any]) -> Option | None:
    """Return the description of a dataclass field; None if it was not created by :func:`option`."""
    found = entry.metadata.get("option")
    return found if isinstance(found, Option) else None


def check_bounds(settings: Any, prefix: str = "") -> None:
    """Check each field of a dataclass against its bounds and choices; None is always within them.

    Raises
    ------
    SettingsError
        Naming the first field that breaks a rule, with ``prefix`` before its name.
    """
    for entry in fields(settings):
        field_option, value = option_of(entry), getattr(settings, entry.name)
        if field_option is None or value is None:
            continue
        if field_option.choices and value not in field_option.choices:
            raise SettingsError(
                f"{prefix}{entry.name} must be one of {', '.join(map(str, field_option.choices))}; got {shown(value)}. "
                "Correct it in the configuration."
            )
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if field_option.bounds and not (number and field_option.allows(value)):
            raise SettingsError(
                f"{prefix}{entry.name} must be {field_option.bounds}; got {shown(value)}. "
                "Correct it in the configuration."
            )


def known_key(key: object, known: Sequence[str], what: str, prefix: str = "") -> str:
    """Return a key of a configuration, which must be one of those known.

    Raises
    ------
    SettingsError
        Naming the nearest known one.
    """
    if key in known:
        return str(key)
    near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
    raise SettingsError(
        f"{what} {shown(prefix + str(key))} is unknown. Did you mean {prefix + near!r}? Known: {', '.join(known)}."
    )


def updated_from(settings: _Settings, mapping: Mapping[str, Any], prefix: str = "") -> _Settings:
    """Return a copy of a settings dataclass with the values of a mapping, checked by name and type.

    Parameters
    ----------
    settings : dataclass
        Its fields may be dataclasses again.
    mapping : Mapping
        Nested as the dataclass is; what is absent is unchanged.
    prefix : str
        Prefix of the names in messages.

    Raises
    ------
    SettingsError
        If a key is unknown (the nearest known one is named), or a value has the wrong type or is out of bounds.
    """
    types = get_type_hints(type(settings))
    known = [item.name for item in fields(settings)]  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for given, value in mapping.items():
        key = known_key(given, known, "Setting", prefix)
        name = f"{prefix}{key}"
        current = getattr(settings, key)
        if is_dataclass(current):
            if not isinstance(value, Mapping):
                raise SettingsError(f"Setting {name!r} must be a mapping; got {shown(value)}.")
            changes[key] = updated_from(current, value, f"{name}.")
        else:
            changes[key] = _checked(name, value, types[key])
    return replace(settings, **changes)  # type: ignore[type-var]


def _checked(name: str, value: Any, kind: Any) -> Any:
    """Convert a plain value to its field's type, or refuse it."""
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        if value not in choices:
            raise SettingsError(f"Setting {name!r} must be one of {', '.join(map(str, choices))}; got {shown(value)}.")
        return value
    options = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    allowed = tuple(get_origin(one) or one for one in options)
    if value is None and type(None) in allowed:
        return None
    for one in allowed:
        if isinstance(one, type) and issubclass(one, enum.Enum) and isinstance(value, str):
            known = {str(member.value): member for member in one}
            if value not in known:
                raise SettingsError(f"Setting {name!r} must be one of {', '.join(known)}; got {shown(value)}.")
            return known[value]
    if Path in allowed and isinstance(value, str):
        return Path(value)
    if tuple in allowed and isinstance(value, (list, tuple)):
        if not all(isinstance(entry, str) for entry in value):
            raise SettingsError(f"Setting {name!r} must be a list of quoted strings; got {shown(value)}.")
        return tuple(value)
    if float in allowed and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if (isinstance(value, bool) and bool not in allowed) or not isinstance(value, allowed):
        wanted = " or ".join(_NAMES.get(one, one.__name__) for one in allowed)
        raise SettingsError(f"Setting {name!r} must be of type {wanted}; got {shown(value)}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingsError(f"Setting {name!r} must be finite; got {shown(value)}.")
    return value


_NAMES: Mapping[Any, str] = {type(None): "null", tuple: "list", Path: "str", collections.abc.Mapping: "mapping"}
"""Types by their names in YAML."""


MOST_BYTES = 1 << 17
"""Size limit of a configuration file: those of this project have a few thousand."""

MOST_DEPTH = 32
"""Nesting limit of mappings and lists."""

MOST_VALUES = 10_000
"""Limit of values, including those in mappings and lists, and each repetition by an alias."""

MOST_DIGITS = 64
"""Length limit of a number."""

MOST_SHOWN = 200
"""Characters shown of an invalid value."""

_PARSE_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Exceptions besides its own errors that the YAML parser raises if a value does not fit its declared type."""


def read_yaml(file: str | os.PathLike[str], what: str) -> Any:
    """Read a YAML or JSON file; None if it is empty.

    Aliases count with their expanded content, since a few can expand without bound; what looks like a date is text.

    Parameters
    ----------
    file : path
    what : str
        Name of the file in messages: ``app.yaml``, ``--config``.

    Raises
    ------
    SettingsError
        If it cannot be read, is not YAML, or is longer or deeper than any configuration.
    """
    import yaml  # here: the settings of the method do not need it

    try:
        content = yaml.load(read_short_text(file), _plain_loader())  # JSON is also YAML
        check_depth(content)
        return content
    except (OSError, yaml.YAMLError, *_PARSE_ERRORS) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, (ArithmeticError, AttributeError, LookupError, TypeError)):
            reason = f"a value that does not fit its type ({type(error).__name__})"
        raise SettingsError(
            f"{what} must be a readable YAML or JSON file; got {beginning(reason)} at {file}. Correct it."
        ) from error


def read_short_text(file: str | os.PathLike[str]) -> str:
    """Read a UTF-8 file within the size limit of configurations.

    Raises
    ------
    OSError, ValueError
        If it cannot be read, is longer, or not UTF-8.
    """
    with Path(file).open("rb") as opened:
        content = opened.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES} bytes")
    return content.decode("utf-8")


def check_depth(value: Any) -> None:
    """Refuse mappings and lists that are nested too deeply for a configuration.

    Raises
    ------
    ValueError
        If they are.
    """
    level = [value]
    for _ in range(MOST_DEPTH + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    if level:
        raise ValueError(f"more than {MOST_DEPTH} levels")


def shown(value: object) -> str:
    """Return a value as shown in messages; a long one is truncated."""
    return beginning(repr(value))


def beginning(text: str) -> str:
    """Return an external text as quoted in messages; a long one is truncated."""
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


@functools.cache
def _plain_loader() -> Any:
    """Return the class that reads YAML: PyYAML's safe one, within the bounds above."""
    import yaml

    def _composer_error(problem: str, place: Any) -> Exception:
        return yaml.composer.ComposerError(None, None, problem, place.start_mark)

    class PlainLoader(yaml.SafeLoader):
        """Loads plain values in mappings and lists, up to the limits of a configuration."""

        depth = values = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            if isinstance(event, yaml.AliasEvent):
                node = super().compose_node(parent, index)
                # A node still being composed has no count yet: it would contain itself.
                self.values += getattr(node, "values", MOST_VALUES)
            else:
                self.depth += 1
                before, self.values = self.values, self.values + 1
                if self.depth > MOST_DEPTH:
                    raise _composer_error(f"more than {MOST_DEPTH} levels", event)
                node = super().compose_node(parent, index)
                node.values = self.values - before  # type: ignore[union-attr]
                self.depth -= 1
            if self.values > MOST_VALUES:
                raise _composer_error(f"more than {MOST_VALUES} values", event)
            return node

        def compose_scalar_node(self, anchor: Any) -> Any:
            node = super().compose_scalar_node(anchor)
            if node.tag in _NUMBERS and len(node.value) > MOST_DIGITS:
                raise _composer_error(f"a number of {len(node.value)} characters", node)
            return node

    # Each starts with the possible first characters of a value of its kind.
    PlainLoader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    PlainLoader.yaml_constructors = {
        tag: construct for tag, construct in yaml.SafeLoader.yaml_constructors.items() if tag != _TIMESTAMP
    }
    return PlainLoader


_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
