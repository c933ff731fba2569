"""What a checkpoint's name says: run, revision, step, tokens, size, seed, stage.

Grammar (upper and lower case alike; pieces are joined by ``-``, ``_``, ``.``, ``/``, ``@`` or ``:``):

    step     step1000, step_1000, step=1000, step-955k, global_step1000, checkpoint-500, ckpt_1000,
             iter_0001000, ba1000
    tokens   tokens3377B, tokens-21M, token-2T (K, M, B, T; a bare number only from a million on);
             300B-tokens in a revision
    seed     seed1, seed-01345, seed-default, seed-small-aux-2
    stage    stage1, ingredient3 (part of the revision, not of the run)

A number counts only as a whole piece: ``0.5MtokBS`` is a batch size, ``7B`` a model size, ``2-step`` a
method, ``stepfun`` a company (whose models are called ``step3``: below 100 such a number is a version there).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_POWERS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
_LARGEST = 2**63 - 1
_LONGEST = 1000  # characters; nothing longer is a name

# A piece starts after, and ends before, what is not a letter or digit; before a decimal it does not end.
_START = r"(?<![a-z0-9])"
_END = r"(?![a-z0-9])(?!\.\d)"

_STEP_PIECE = (
    r"(?:(?:global[-_]?)?steps?[-_=]?(?P<step>\d{1,15})(?P<thousand>k)?"
    r"|(?:checkpoint|ckpt|iter|iteration)[-_=]?(?P<other>\d{1,15})"
    r"|ba(?P<batch>\d{1,15}))"
)
_TOKENS_PIECE = r"tok(?:en)?s?[-_=]?(?P<tokens>\d{1,18}(?:\.\d+)?)(?P<unit>[kmbt])?"
_TOKENS_AFTER = r"(?P<tokens>\d{1,18}(?:\.\d+)?)(?P<unit>[kmbt])[-_]?tok(?:en)?s?"
_SEED_PIECE = r"seed[-_=]?(?P<seed>\d{1,18}|default|(?:small|large)-aux-\d+)"
_STAGE_PIECE = r"stage[-_=]?(?P<stage>\d{1,9})"

_STEP = re.compile(_START + _STEP_PIECE + _END, re.IGNORECASE)
_TOKENS = re.compile(_START + _TOKENS_PIECE + _END, re.IGNORECASE)
_TOKENS_LEAD = re.compile(_START + _TOKENS_AFTER + _END, re.IGNORECASE)
_SEED = re.compile(_START + _SEED_PIECE + _END, re.IGNORECASE)
_STAGE = re.compile(_START + _STAGE_PIECE + _END, re.IGNORECASE)
_COUNT_BEFORE = re.compile(_START + r"(?:\d+|n|one|two|three|single|multi|few|many)-$", re.IGNORECASE)
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,12})?(?:e[+]?\d{1,2})?)\s*([kmbt]?)", re.IGNORECASE)
_SIZE_IN_NAME = re.compile(_START + r"(?<!\d\.)(\d{1,6}(?:\.\d{1,4})?[mb])" + _END, re.IGNORECASE)


def _bare(pattern: str) -> str:
    return re.sub(r"\?P<\w+>", "?:", pattern)


# A checkpoint at the end of a name. A seed before the step belongs to the run, one after it to the revision.
_JOIN = r"[-_./@:]+"
_TRAILING = re.compile(
    r"(?P<run>.*?)(?:^|" + _JOIN + r")"
    r"(?P<checkpoint>(?:(?:intermediate|stage[-_]?\d+|ingredient[-_]?\d+|ep(?:och)?[-_=]?\d+)[-_.]+)*"
    r"(?:" + _bare(_STEP_PIECE) + r"|" + _bare(_TOKENS_PIECE) + r")"
    r"(?:[-_.](?:"
    + _bare(_STEP_PIECE)
    + r"|"
    + _bare(_TOKENS_PIECE)
    + r"|"
    + _bare(_SEED_PIECE)
    + r"|rank\d+|unsharded|hf))*)"
    r"(?:/hf)?(?:\.(?:ckpt|pt|pth|bin|safetensors))?/*",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class ParsedName:
    """What a name said; None where it said nothing.

    Attributes
    ----------
    run : str or None
        The name without its checkpoint, otherwise as written; None if the name is nothing but a checkpoint.
    revision : str or None
        The checkpoint, verbatim.
    step : int or None
    tokens : float or None
    params : int or None
        A size in the name (``160m``): nominal, so a hint and not a parameter count.
    seed : int or None
        A training or data seed. Seeds with names get numbers: ``default`` is 1, ``small-aux-2`` is 2.
    stage : int or None
    """

    run: str | None
    revision: str | None
    step: int | None
    tokens: float | None
    params: int | None = None
    seed: int | None = None
    stage: int | None = None


def parse_size(text: str) -> int | None:
    """A parameter count such as ``150M``, ``1.4B``, ``70b``, ``1.4e9`` or ``124439808``; None if it is none.

    Examples
    --------
    >>> parse_size("150M"), parse_size("1.4B"), parse_size("1.4e9"), parse_size("5xC")
    (150000000, 1400000000, 1400000000, None)
    """
    match = _SIZE.fullmatch(text.strip().replace(",", ""))
    if match is None or not text.isascii():
        return None
    size = _times(match[1], match[2])
    return size if 0 < size <= _LARGEST else None


def _times(number: str, unit: str) -> int:
    """Exact for decimals: 1.4B is 1400000000, not a float's neighbour of it."""
    power = _POWERS[unit.lower()]
    mantissa, _, exponent = number.lower().partition("e")
    whole, _, decimals = mantissa.partition(".")
    scale = 10 ** int(exponent or 0) * power
    return int(whole + decimals) * scale // 10 ** len(decimals)


def _step_of(text: str) -> int | None:
    found = None
    for match in _STEP.finditer(text):
        if _is_method(text, match):
            continue
        digits = match["step"] or match["other"] or match["batch"]
        found = int(digits) * (1000 if match["thousand"] else 1)
        if found < 100 and "stepfun" in text.lower():
            found = None
    return found


def _is_method(text: str, match: re.Match[str]) -> bool:
    """``2-step-7``, ``multi-step-8``: the word is hyphenated on both sides, with a count before it."""
    hyphenated = re.match(r"steps?-", match[0], re.IGNORECASE)
    return hyphenated is not None and _COUNT_BEFORE.search(text[: match.start()]) is not None


def _tokens_of(text: str, *, revision: bool = False) -> float | None:
    """In a model or file name, ``7B-tokens`` would rather be a size followed by a word."""
    for pattern in (_TOKENS, _TOKENS_LEAD) if revision else (_TOKENS,):
        for match in pattern.finditer(text):
            unit = match["unit"] or ""
            tokens = float(_times(match["tokens"], unit))
            if unit or tokens >= 1e6:
                return tokens
    return None


def _seed_of(text: str) -> int | None:
    match = _SEED.search(text)
    if match is None:
        return None
    word = match["seed"].lower()
    if word == "default":
        return 1
    return int(word.rpartition("-")[2])


def _stage_of(text: str) -> int | None:
    match = _STAGE.search(text)
    return None if match is None else int(match["stage"])


def split_checkpoint(name: str) -> tuple[str | None, str | None]:
    """(name without a trailing checkpoint, that checkpoint or None).

    Examples
    --------
    >>> split_checkpoint("org/beta-step3000")
    ('org/beta', 'step3000')
    >>> split_checkpoint("EleutherAI/pythia-410m-0.5MtokBS")
    ('EleutherAI/pythia-410m-0.5MtokBS', None)
    """
    match = _TRAILING.fullmatch(name) if len(name) <= _LONGEST else None
    if match is None:
        return name or None, None
    checkpoint = match["checkpoint"]
    if _step_of(name) is None and _tokens_of(checkpoint) is None:
        return name, None  # a false hit by the rules of `_step_of`
    if match["run"] == "" and name.startswith("/"):
        return None, checkpoint
    return match["run"] or None, checkpoint


@lru_cache(maxsize=8192)
def parse_name(name: str, revision: str | None = None, file: str | None = None) -> ParsedName:
    """What name, revision and file say about a checkpoint.

    Step, tokens and stage come from the revision first, then from a checkpoint at the end of the name, then
    from the file name and the folders above it, nearest first.

    Parameters
    ----------
    name : str
        Model name as recorded: ``org/model``, ``org/model-step1000``, a path.
    revision : str, optional
        Branch, tag or commit it was loaded from. ``main`` says nothing and gives way to a checkpoint in the
        name.
    file : str, optional
        Path of the file that holds the scores, with ``/`` between its parts.

    Examples
    --------
    >>> parse_name("EleutherAI/pythia-160m", "step143000").step
    143000
    >>> parsed = parse_name("org/alpha", "stage1-step1610000-tokens3377B")
    >>> parsed.run, parsed.step, parsed.tokens, parsed.stage
    ('org/alpha', 1610000, 3377000000000.0, 1)
    >>> parse_name("stepfun-ai/step3").step is None
    True
    """
    run, checkpoint = split_checkpoint(name)
    places = [text for text in (_telling(revision), checkpoint) if text]
    if file is not None:
        parts = [part for part in file.split("/") if part not in ("", ".", "..")]
        places += [_without_extension(part) if at == 0 else part for at, part in enumerate(reversed(parts))]
    step = stage = tokens = None
    for place in places:
        step, tokens = _step_of(place), _tokens_of(place, revision=place == revision)
        if step is not None or tokens is not None:
            stage = _stage_of(place)
            if checkpoint is None and place != revision:
                checkpoint = _checkpoint_in(place)
            break
    size = _SIZE_IN_NAME.search((run or "").rpartition("/")[2])
    seeds = (_seed_of(text) for text in (_telling(revision), checkpoint, run) if text)
    return ParsedName(
        run=run,
        revision=_telling(revision) or checkpoint or revision,
        step=step,
        tokens=tokens,
        params=parse_size(size[1]) if size else None,
        seed=next((seed for seed in seeds if seed is not None), None),
        stage=stage,
    )


def _telling(revision: str | None) -> str | None:
    return None if revision in (None, "", "main", "master") else revision


def _without_extension(part: str) -> str:
    return re.sub(r"(?:\.(?:json|jsonl|csv|tsv|parquet|arrow|gz|zst))+$", "", part, flags=re.IGNORECASE)


def _checkpoint_in(part: str) -> str:
    """The checkpoint as it is written in a file or folder name."""
    checkpoint = split_checkpoint(part)[1]
    if checkpoint is not None:
        return checkpoint
    match = _STEP.search(part) or _TOKENS.search(part)
    return match[0] if match else part
