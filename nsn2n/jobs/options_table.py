# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The page ``docs/options.md``, made from the fields of the options and of the settings.

python -m nsn2n.jobs.options_table > docs/options.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from nsn2n.jobs.options import GROUPS, JobOptions
from nsn2n.runtime.config_loading import Option, option_of
from nsn2n.settings import PRESETS, Settings

__all__ = ["options_page"]

_HEAD = """\
# Options and settings

Made by `make options` from the fields of `JobOptions` (`nsn2n/jobs/options.py`) and of
`Settings` (`nsn2n/settings.py`); change them there.

An option of `nsn2n denoise` and the key of section `nsn2n` in `app.yaml` in the same row are equivalent and checked in
the same way. The allowed range of a number is in brackets.
"""

_SETTINGS = f"""\
## Settings of the method

For `--config FILE`, `config` in `app.yaml`, and `nsn2n.denoise(volume, config=...)`: what differs from the preset
({", ".join(PRESETS)}). The defaults are those of the preset `default`. `null` means no limit, or that the
program chooses.
"""


def options_page() -> str:
    """Return the page as Markdown."""
    lines = [_HEAD]
    for group in GROUPS:
        lines += [
            f"## {group}",
            "",
            "| `nsn2n denoise` | `app.yaml` | default | for | |",
            "| --- | --- | --- | --- | --- |",
            *(_option_row(entry, option) for entry, option in _told(JobOptions) if option.group == group),
            "",
        ]
    lines += [_SETTINGS, "| setting | default | |", "| --- | --- | --- |", *_settings_rows(Settings(), ""), ""]
    return "\n".join(lines)


def _told(table: Any) -> Iterator[tuple[Field[Any], Option]]:
    for entry in fields(table):
        option = option_of(entry)
        if option is not None:
            yield entry, option


def _option_row(entry: Field[Any], option: Option) -> str:
    flag, key = (f"`{name}`" if name else "" for name in (option.flag, entry.name if option.in_app_yaml else ""))
    if entry.default is True:
        flag = f"`--no-{option.flag.removeprefix('--')}`"
    default = {} if entry.default is MISSING else entry.default
    return f"| {flag} | {key} | {_value(default)} | {', '.join(option.inputs)} | {_text(option)} |"


def _settings_rows(settings: Any, prefix: str) -> Iterator[str]:
    nested = []
    for entry in fields(settings):
        value = getattr(settings, entry.name)
        option = option_of(entry)
        if is_dataclass(value):
            nested.append((value, f"{prefix}{entry.name}."))
        elif option is not None:
            yield f"| `{prefix}{entry.name}` | {_value(value)} | {_text(option)} |"
    for value, name in nested:
        yield from _settings_rows(value, name)


def _value(value: Any) -> str:
    if value is None:
        return "`null`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value in ((), {}):
        return "none"
    return f"`{value}`"


def _text(option: Option) -> str:
    limits = []
    if option.choices:
        limits.append(" or ".join(f"`{choice}`" for choice in option.choices))
    if option.bounds:
        limits.append(f"{option.bounds} {option.unit}".strip())
    elif option.unit:
        limits.append(option.unit)
    text = option.help.replace("|", "\\|").replace("\n", " ")
    return f"{text} ({'; '.join(limits)})" if limits else text


if __name__ == "__main__":
    sys.stdout.write(options_page())
