# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Plain values, as a YAML or JSON file holds them, made into settings."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from nsn2n.errors import SettingsError

__all__ = ["updated_from"]

_Settings = TypeVar("_Settings")


def updated_from(settings: _Settings, mapping: Mapping[str, Any], prefix: str = "") -> _Settings:
    """Return a copy of a settings dataclass with the values of a mapping, checked by name and type.

    Parameters
    ----------
    settings : dataclass
        Its fields may be dataclasses again.
    mapping : Mapping
        Nested as the dataclass is; what is absent stays.
    prefix : str
        What stands before the names in messages.

    Raises
    ------
    SettingsError
        If a key is unknown (the nearest known one is named), or a value has the wrong type or is out of bounds.
    """
    types = get_type_hints(type(settings))
    known = [item.name for item in fields(settings)]  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for key, value in mapping.items():
        name = f"{prefix}{key}"
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
            raise SettingsError(
                f"Setting {name!r} is unknown. Did you mean {prefix + near!r}? Known: {', '.join(known)}."
            )
        current = getattr(settings, key)
        if is_dataclass(current):
            if not isinstance(value, Mapping):
                raise SettingsError(f"Setting {name!r} must be a mapping; got {value!r}.")
            changes[key] = updated_from(current, value, f"{name}.")
        else:
            changes[key] = _checked(name, value, types[key])
    return replace(settings, **changes)  # type: ignore[type-var]


def _checked(name: str, value: Any, kind: Any) -> Any:
    """Return a plain value as its field's type, or refuse it."""
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        if value not in choices:
            raise SettingsError(f"Setting {name!r} must be one of {', '.join(map(str, choices))}; got {value!r}.")
        return value
    allowed = get_args(kind) or (kind,)
    if value is None and type(None) in allowed:
        return None
    if float in allowed and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if (isinstance(value, bool) and bool not in allowed) or not isinstance(value, allowed):
        wanted = " or ".join("null" if option is type(None) else option.__name__ for option in allowed)
        raise SettingsError(f"Setting {name!r} must be of type {wanted}; got {value!r}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingsError(f"Setting {name!r} must be finite; got {value!r}.")
    return value
