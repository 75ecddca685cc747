"""The options for variables. A command receives them as one argument, `variables`."""

from __future__ import annotations

from pystack.cli.declare import UsageProblem, WholeNumber, option, option_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystack.locals_options import Locals


def _locals_of(
    *,
    show_locals: bool,
    max_depth: int,
    max_items: int,
    max_string: int,
    max_bytes: int,
    redact: tuple[str, ...],
    no_redact: bool,
) -> Locals | None:
    """Returns None if no variables are requested."""
    if not show_locals:
        return None
    from pystack.locals_options import REDACTED_NAMES, Locals

    if no_redact and redact:
        raise UsageProblem("--redact and --no-redact exclude each other.")
    limits = Locals(max_depth, max_items, max_string, max_bytes)
    if no_redact:
        return limits._replace(redact=(), redact_words=(), redact_text=False)
    return limits._replace(redact=(*REDACTED_NAMES, *redact))


locals_options = option_group(
    "variables",
    _locals_of,
    (
        option(
            "-l",
            "--locals",
            "show_locals",
            is_flag=True,
            help="Show arguments and local variables.",
        ),
        option(
            "--max-depth",
            type=WholeNumber(1, 100),
            default=4,
            show_default=True,
            help="With --locals: show at most this many levels of nested containers.",
        ),
        option(
            "--max-items",
            type=WholeNumber(0),
            default=20,
            show_default=True,
            help="With --locals: show at most this many items per container.",
        ),
        option(
            "--max-string",
            type=WholeNumber(0),
            default=200,
            show_default=True,
            help="With --locals: show at most this many characters per string.",
        ),
        option(
            "--max-bytes",
            type=WholeNumber(1),
            default=256 * 1024,
            show_default=True,
            help="With --locals: read at most this many bytes per thread.",
        ),
        option(
            "--redact",
            multiple=True,
            metavar="PATTERN",
            help="With --locals: also hide values whose names contain PATTERN, in upper or lower case."
            " Always hidden: password, passwd, passphrase, passcode, secret, token, credential,"
            " authorization, cookie, session_id, api_key, access_key, encryption_key, private_key,"
            " signing_key, and the words auth, bearer, creds, otp, pw, pwd.",
        ),
        option(
            "--no-redact",
            is_flag=True,
            help="With --locals: show all values, including passwords and tokens inside strings.",
        ),
    ),
)
