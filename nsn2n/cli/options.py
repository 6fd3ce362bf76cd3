# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The options of the command line, made from the table of `nsn2n.jobs.options.JobOptions`."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer

from nsn2n.errors import SettingsError
from nsn2n.files import FORMATS
from nsn2n.jobs.options import JobOptions
from nsn2n.runtime.config_loading import Option, option_of, read_yaml

__all__ = ["given_options", "job_options", "refuse_options_of_other_inputs", "with_job_options", "with_options"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _on_command_line(table: Any = JobOptions) -> dict[str, tuple[Field[Any], Option]]:
    described = {entry.name: (entry, option_of(entry)) for entry in fields(table)}
    return {name: (entry, option) for name, (entry, option) in described.items() if option is not None and option.flag}


def with_job_options(command: _Command) -> _Command:
    """Replace the ``**given`` of a typer command by the options of `JobOptions`, as `with_options` does."""
    return with_options(command, JobOptions)


def with_options(command: _Command, *tables: Any, without: Collection[str] = ()) -> _Command:
    """Replace the ``**given`` of a typer command by the options of tables.

    Each is passed under the name of its field: a value, or None (an empty list, if it is repeatable) if it was not
    given.

    Parameters
    ----------
    command : callable
    *tables : type
        Dataclasses whose fields carry options, such as `JobOptions`; no two have a field of the same name.
    without : collection of str
        Fields that the command does not accept.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    before = [one for one in own if one.default is inspect.Parameter.empty]
    after = [one for one in own if one.default is not inspect.Parameter.empty]
    made = [
        _parameter(entry, option, get_type_hints(table)[name])
        for table in tables
        for name, (entry, option) in _on_command_line(table).items()
        if name not in without
    ]
    keyword = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*made, *after)]
    listed = [*before, *keyword]
    command.__signature__ = signature.replace(parameters=listed)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in listed}
    return command


def _parameter(entry: Field[Any], option: Option, kind: Any) -> inspect.Parameter:
    default = None if entry.default is MISSING else entry.default
    flag, annotation, shown = option.flag, _annotation(entry, option, kind), str(default)
    if kind is bool:
        flag, shown = (f"{flag}/--no-{flag.removeprefix('--')}", "write it") if default else (flag, "")
    elif default in (None, ()):
        shown = ""
    made = typer.Option(
        flag,
        help=option.help,
        metavar=option.metavar,
        rich_help_panel=option.group,
        show_default=shown or False,
    )
    return inspect.Parameter(
        entry.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[annotation, made]
    )


def _annotation(entry: Field[Any], option: Option, kind: Any) -> Any:
    """Return the type of an option for typer: None means that it was not given."""
    if kind is bool:
        return bool | None
    if get_origin(kind) is tuple:
        return list[str] | None
    if entry.default is MISSING:
        return Path | None  # a mapping is given as a file
    if option.choices:
        return enum.Enum(entry.name, {str(choice): str(choice) for choice in option.choices}) | None  # type: ignore[operator]
    allowed = get_args(kind) or (kind,)
    if Path in allowed:
        return Path | None
    return next((one for one in (int, float) if one in allowed), str) | None


def given_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given on the command line, by field, in the types of `JobOptions`.

    Raises
    ------
    SettingsError
        If the file of ``--config`` cannot be read as a mapping.
    """
    values = {
        name: value.value if isinstance(value, enum.Enum) else value
        for name, value in given.items()
        if value is not None and value != []
    }
    if "config" in values:
        file = values["config"]
        content = read_yaml(file, "--config")
        if content is not None and not isinstance(content, dict):
            raise SettingsError(f"{file} must hold a mapping of settings; got a {type(content).__name__}.")
        values["config"] = content or {}
    return values


def job_options(given: Mapping[str, Any]) -> JobOptions:
    """Return the options of a run, checked; what was not given has the default of the table."""
    return JobOptions.from_mapping(given_options(given))


def refuse_options_of_other_inputs(given: Mapping[str, Any], kind: str, named: str) -> None:
    """Refuse options that do not apply to such an input.

    Parameters
    ----------
    given : mapping
        As for :func:`given_options`.
    kind : {"DICOM", "volume files"}
        Of the input.
    named : str
        The input, for the message.

    Raises
    ------
    SettingsError
        Naming all options that are for other inputs.
    """
    wrong = []
    for name, (_, option) in _on_command_line().items():
        if given.get(name) not in (None, []) and kind not in option.inputs:
            off = given[name] is False
            wrong.append((f"--no-{option.flag.removeprefix('--')}" if off else option.flag, option.inputs[0]))
    if wrong:
        one = len(wrong) == 1
        others = {"DICOM": "DICOM series", "volume files": f"volume files ({', '.join(FORMATS)})"}[wrong[0][1]]
        raise SettingsError(
            f"{', '.join(flag for flag, _ in wrong)} {'is' if one else 'are'} for {others}; got {named}. "
            f"Leave {'it' if one else 'them'} out."
        )
